"""Open live sources by address, and reconnect to lost sources automatically."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.live.address import CameraFormat, LiveAddress


class Capture(Protocol):
    """An opened live source."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next frame and return it.

        Returns:
            The frame, [H, W, 3] uint8 RGB. `None` means that the source has ended.

        Raises:
            StreamError: the connection is lost, or no frame arrives before a timeout.
        """
        ...

    def close(self) -> None:
        """Release the source."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A `Capture` that provides a timestamp from the clock of the source for each frame."""

    @property
    def stream_time_s(self) -> float | None:
        """Capture time of the last frame, in seconds of the source's clock.

        `None` means that the time is unknown. The clock of the source has an arbitrary zero point.
        This clock may restart, repeat a time or jump. `latest_frame.StreamClock` corrects these
        defects.
        """
        ...


def stream_time_s(capture: Capture) -> float | None:
    """Return the source's timestamp of the last frame in seconds.

    `None` means that the source does not provide timestamps, or that the time is unknown.
    """
    return capture.stream_time_s if isinstance(capture, Clocked) else None


@runtime_checkable
class Described(Protocol):
    """A source that can describe the format of its frames."""

    def described(self) -> str:
        """Return the size, rate and format of the frames as one line of text."""
        ...


class OpenedByReader:
    """Capture that opens its source on the first `read`, in the reader thread.

    If the source does not answer, the attempt to open the source takes several seconds. The attempt
    may also hang in a driver. Signals do not interrupt the attempt. The main thread handles
    signals, so the main thread must not wait for the source.

    Args:
        open_: function that opens the source or raises `StreamError`.
        opened: callback that the reader thread calls once, when the source is open.
    """

    def __init__(
        self, open_: Callable[[], Capture], *, opened: Callable[[], None] = lambda: None
    ) -> None:
        self._open, self._opened = open_, opened
        self._capture: Capture | None = None

    def read(self) -> NDArray[np.uint8] | None:
        """Open the source on the first call. Then wait for the next frame; see `Capture`."""
        if self._capture is None:
            self._capture = self._open()
            self._opened()
        return self._capture.read()

    @property
    def stream_time_s(self) -> float | None:
        """Timestamp of the last frame, in seconds of the source's clock; see `Clocked`."""
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """If the source was opened, close it."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()


def open_capture(
    address: LiveAddress, wanted: CameraFormat, *, notify: Callable[[str], None] = lambda text: None
) -> Capture:
    """Open a live source. The caller must close the returned capture.

    Args:
        address: address of the source.
        wanted: requested size and rate of the frames.
        notify: callback that receives a message with the actual mode of a camera.

    Raises:
        UsageError: a size or rate is requested from an RTSP stream. RTSP streams do not support
            this request.
        StreamError: the source is not available or sends no frames.
        MissingPackageError: a package that is needed to read the source is not installed.
    """
    capture = _opened(address, wanted)
    if isinstance(capture, Described):
        notify(capture.described())
    return capture


def _opened(address: LiveAddress, wanted: CameraFormat) -> Capture:
    match address.scheme:
        case "rtsp":
            from mggr_edge.media.live.rtsp_client import RtspCapture

            check_no_format(address, wanted, kind="network stream")
            return RtspCapture(address)
        case "v4l2" | "camera":
            from mggr_edge.media.live.cameras import CameraCapture

            return CameraCapture(address, wanted)
        case "csi":
            from mggr_edge.media.live.csi import CsiCapture

            return CsiCapture(address, wanted)
        case "film":
            from mggr_edge.media.live.file_playback import VideoFileCapture

            return VideoFileCapture(address)
        case "still":
            from mggr_edge.media.live.file_playback import PictureFileCapture

            return PictureFileCapture(address)


def check_no_format(address: LiveAddress, wanted: CameraFormat, *, kind: str) -> None:
    """Reject a requested size or rate for a source that does not support the request.

    Args:
        address: address of the source.
        wanted: requested size and rate.
        kind: kind of the source, for the message.

    Raises:
        UsageError: a size or rate is requested.
    """
    if wanted.is_asked_for:
        raise UsageError(
            f"{address} is a {kind}; its frame size and rate cannot be set; remove --input-width, "
            "--input-height and --input-rate",
            code="camera-options-for-stream",
            address=str(address),
        )


_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


class Reconnecting:
    """Capture that retries until its source is available, and reconnects if the source is lost.

    While the source is not available, `read` blocks. The first retry takes place after 0.5 seconds.
    Then the delay doubles with each retry, up to 15 seconds. A loss is reported once. If the reason
    of the loss changes, a second report follows. The recovery is also reported.

    Attributes:
        reconnected: number of successful reconnections. The first connection is not counted.

    Args:
        open_: function that opens the source or raises `StreamError`.
        name: name of the source in messages.
        stop: event that ends `read`. Any thread may set the event.
        notify: callback that receives messages about losses and recoveries.
        beat: callback that updates the heartbeat of the reader. The callback is called before each
            attempt to read a frame and after each failure.
    """

    def __init__(
        self,
        open_: Callable[[], Capture],
        *,
        name: str,
        stop: threading.Event,
        notify: Callable[[str], None],
        beat: Callable[[], None],
    ) -> None:
        self.reconnected = 0
        self._open, self._name = open_, name
        self._stop, self._notify, self._beat = stop, notify, beat
        self._capture: Capture | None = None
        self._wait_s = 0.0
        self._was_there = False
        self._lost_s: float | None = None
        self._told: str | None = None

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next frame without a time limit.

        Returns:
            The frame. `None` means that `stop` is set.
        """
        while not self._stop.wait(self._wait_s):
            self._beat()
            try:
                if self._capture is None:
                    self._capture = self._open()
                frame = self._capture.read()
            except StreamError as error:
                self._lose(str(error))
                continue
            if frame is None:
                self._lose(f"{self._name} has ended")
                continue
            self._note_that_it_is_there()
            return frame
        return None

    @property
    def stream_time_s(self) -> float | None:
        """Timestamp of the last frame, in seconds of the source's clock.

        The clock may restart with each connection. `None` means that the time is unknown.
        """
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """Release the source."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def _lose(self, reason: str) -> None:
        self.close()
        self._beat()
        self._lost_s = time.monotonic() if self._lost_s is None else self._lost_s
        if reason != self._told:
            self._notify(f"{reason}; retrying until the source is available")
            self._told = reason
        self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _LONGEST_WAIT_S)

    def _note_that_it_is_there(self) -> None:
        self._wait_s = 0.0
        if self._lost_s is not None:
            away_s = time.monotonic() - self._lost_s
            self._lost_s = self._told = None
            self.reconnected += self._was_there
            connected = "reconnected" if self._was_there else "connected"
            self._notify(f"{connected} to {self._name} after {away_s:.1f} s")
        self._was_there = True

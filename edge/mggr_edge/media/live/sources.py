"""Opening of live sources by address, and automatic reconnection."""

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
            The frame, [H, W, 3] uint8 RGB; None if the source has ended.

        Raises:
            StreamError: the connection is lost, or no frame arrives before a timeout.
        """
        ...

    def close(self) -> None:
        """Release the source."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A `Capture` whose frames have timestamps of the source's clock."""

    @property
    def stream_time_s(self) -> float | None:
        """Capture time of the last frame in seconds of the source's clock; None if unknown.

        The zero point is arbitrary, and the clock may restart, repeat a time or jump.
        `latest_frame.StreamClock` corrects that.
        """
        ...


def stream_time_s(capture: Capture) -> float | None:
    """Return the source's timestamp of the last frame in seconds; None if it has no timestamp."""
    return capture.stream_time_s if isinstance(capture, Clocked) else None


@runtime_checkable
class Described(Protocol):
    """A source with a description of the frames that it sends."""

    def described(self) -> str:
        """Return size, rate and format in one line."""
        ...


class OpenedByReader:
    """Capture that opens its source on the first `read`, in the reader thread.

    Opening takes seconds if the source does not answer, and it may hang in a driver. Signals do not
    interrupt it, so it must not block the main thread, which handles signals.

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
        """Open the source if it is not open, and wait for the next frame; see `Capture`."""
        if self._capture is None:
            self._capture = self._open()
            self._opened()
        return self._capture.read()

    @property
    def stream_time_s(self) -> float | None:
        """The source's timestamp of the last frame in seconds; see `Clocked`."""
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """Close the source if it was opened."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()


def open_capture(
    address: LiveAddress, wanted: CameraFormat, *, notify: Callable[[str], None] = lambda text: None
) -> Capture:
    """Open a live source. The caller must close it.

    Args:
        address: address of the source.
        wanted: requested size and rate of the frames.
        notify: callback that receives a message with the actual mode of a camera.

    Raises:
        UsageError: a size or rate is requested from an RTSP stream, which does not support this.
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

            if wanted.is_asked_for:
                raise UsageError(
                    f"{address} is a stream, whose size and rate cannot be set; leave out "
                    "--input-width, --input-height and --input-rate",
                    code="camera-options-for-stream",
                    address=str(address),
                )

            return RtspCapture(address)
        case "v4l2":
            from mggr_edge.media.live.v4l2 import V4L2Capture

            return V4L2Capture(address, wanted)
        case "csi":
            from mggr_edge.media.live.csi import CsiCapture

            return CsiCapture(address, wanted)
        case "film":
            from mggr_edge.media.live.file_playback import VideoFileCapture

            return VideoFileCapture(address)
        case "still":
            from mggr_edge.media.live.file_playback import PictureFileCapture

            return PictureFileCapture(address)


_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


class Reconnecting:
    """Capture that opens its source as soon as it is available, and reconnects after a loss.

    While the source is not available, `read` blocks. The first retry follows after 0.5 seconds; the
    delay then doubles with each retry, up to 15 seconds. Each loss is reported once per reason, and
    the recovery is reported too.

    Attributes:
        reconnected: number of successful reconnections; the first connection is not counted.

    Args:
        open_: function that opens the source or raises `StreamError`.
        name: name of the source for messages.
        stop: event that ends `read`; any thread may set it.
        notify: callback that receives messages about losses and recoveries.
        beat: callback for the heartbeat, called before each attempt and after each failure.
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
        """Wait for the next frame without a time limit; return None if `stop` is set."""
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
        """The source's timestamp of the last frame in seconds; may restart with each connection."""
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
            self._notify(f"{reason}; retrying until it is available")
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

"""Live sources by address, and their reconnection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.csi import CameraFormat


class Capture(Protocol):
    """An opened live source."""

    def read(self) -> NDArray[np.uint8] | None:
        """Waits for the next frame, [H, W, 3] uint8 RGB; None when the source has ended.

        Raises:
            StreamError: the source is lost, or silent for too long.
        """
        ...

    def close(self) -> None:
        """Lets go of the source."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A `Capture` whose frames carry times of the source's own clock."""

    @property
    def stream_time_s(self) -> float | None:
        """When the frame that was read last was taken, in seconds of the source's clock.

        Its zero is any moment; it may restart, repeat or jump (`stream_clock` guards against
        that). None where the frame has none.
        """
        ...


def stream_time_s(capture: Capture) -> float | None:
    """Returns the source's own time of the frame that was read last; None where it has no clock."""
    return capture.stream_time_s if isinstance(capture, Clocked) else None


@runtime_checkable
class Described(Protocol):
    """A source that reports what it sends."""

    def described(self) -> str:
        """Size, rate and format in one line."""
        ...


class OpenedByReader:
    """A source that the first `read` opens, in the thread that reads it.

    Opening a source takes seconds where nothing answers, and may hang in a driver. No signal
    interrupts it, so the main thread, which handles signals, must not wait for it.

    Args:
        open_: opens the source, or raises `StreamError`.
        opened: called once, by the reading thread, when the source is open.
    """

    def __init__(
        self, open_: Callable[[], Capture], *, opened: Callable[[], None] = lambda: None
    ) -> None:
        self._open, self._opened = open_, opened
        self._capture: Capture | None = None

    def read(self) -> NDArray[np.uint8] | None:
        """Waits for the next frame; see `Capture`."""
        if self._capture is None:
            self._capture = self._open()
            self._opened()
        return self._capture.read()

    @property
    def stream_time_s(self) -> float | None:
        """The source's own time of the last frame; see `Clocked`."""
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """Closes the source if it was opened."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()


def open_capture(
    address: LiveAddress, wanted: CameraFormat, *, notify: Callable[[str], None] = lambda text: None
) -> Capture:
    """Opens a live source; who reads it closes it.

    Args:
        address: of the source.
        wanted: size and rate of its pictures.
        notify: takes the mode that a camera has taken.

    Raises:
        UsageError: a size or rate is wanted of what cannot be asked.
        StreamError: it is not there, or gives nothing.
        MissingPackageError: what it is read with is not installed.
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
                raise UsageError(f"{address} sends what it sends; size and rate are for cameras")

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
    """Opens a source, also for the first time, as soon as it is there.

    While it is away no frame is given. It is tried after half a second, and then after twice as
    long each time, up to a quarter of a minute. A loss is reported once, another reason for it
    again, and the return.

    Attributes:
        reconnected: how often it came back, having been there before.

    Args:
        open_: opens it, or raises `StreamError`.
        name: of the source, for people.
        stop: set from anywhere to end.
        notify: takes what happens.
        beat: called whenever something is tried, and when that has failed.
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
        """Waits for the next frame, however long; None when it was stopped."""
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
        """The source's own time of the last frame; it starts anew with every connection."""
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """Lets go of the source."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def _lose(self, reason: str) -> None:
        self.close()
        self._beat()
        self._lost_s = time.monotonic() if self._lost_s is None else self._lost_s
        if reason != self._told:
            self._notify(f"{reason}; trying again until it is there")
            self._told = reason
        self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _LONGEST_WAIT_S)

    def _note_that_it_is_there(self) -> None:
        self._wait_s = 0.0
        if self._lost_s is not None:
            away_s = time.monotonic() - self._lost_s
            self._lost_s = self._told = None
            self.reconnected += self._was_there
            again = " again" if self._was_there else ""
            self._notify(f"{self._name} is there{again}, after {away_s:.1f} s")
        self._was_there = True

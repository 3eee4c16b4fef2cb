"""What gives frames as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import UsageError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.camera_format import PictureFormat


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
    address: LiveAddress, wanted: PictureFormat, *, say: Callable[[str], None] = lambda text: None
) -> Capture:
    """Opens a live source; who reads it closes it.

    Args:
        address: of the source.
        wanted: size and rate of its pictures.
        say: takes the mode that a camera has taken.

    Raises:
        UsageError: a size or rate is wanted of what cannot be asked.
        StreamError: it is not there, or gives nothing.
        MissingPackageError: what it is read with is not installed.
    """
    capture = _opened(address, wanted)
    if isinstance(capture, Described):
        say(capture.described())
    return capture


def _opened(address: LiveAddress, wanted: PictureFormat) -> Capture:
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
            from mggr_edge.media.live.file_playback import FilmCapture

            return FilmCapture(address)
        case "still":
            from mggr_edge.media.live.file_playback import StillCapture

            return StillCapture(address)

"""Files in a live source's place: a video at its own pace, a picture that stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import UsageError
from mggr_edge.media.files.looped import open_looped
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pictures import read_picture
from mggr_edge.media.files.video_reader import TimedFrame
from mggr_edge.media.live.address import LiveAddress

_PICTURE_EVERY_S = 0.1


def shown_file(named: str | Path, *, loops: int = 0) -> LiveAddress:
    """A file that is shown and not written.

    Args:
        named: see `find_source`.
        loops: how many times more a video is shown; -1 for ever.

    Raises:
        StreamError: nothing lies there.
        UsageError: neither a video nor a picture.
    """
    source = find_source(named)
    if source.kind == "folder":
        raise UsageError(f"{named} is a folder; show one of its pictures, or a video")
    return LiveAddress("film" if source.kind == "video" else "still", str(source.path), loops)


class FilmCapture:
    """A video file, each frame at its time; without sound.

    Args:
        address: `place` is its path.

    Raises:
        StreamError: no video, or a damaged one; also later, by `read`.
    """

    def __init__(self, address: LiveAddress) -> None:
        self._opened = ExitStack()
        path = find_source(Path(address.place)).path
        video = self._opened.enter_context(open_looped(path, address.loops))
        self._frames: Iterator[TimedFrame] = (
            item for item in video.items if isinstance(item, TimedFrame)
        )
        self._begun_s: float | None = None
        self.stream_time_s: float | None = None
        """The last frame's time in its video."""

    def read(self) -> NDArray[np.uint8] | None:
        """Waits until the next frame's time."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        if self._begun_s is None:
            self._begun_s = time.monotonic() - frame.time_s
        time.sleep(max(0.0, self._begun_s + frame.time_s - time.monotonic()))
        self.stream_time_s = frame.time_s
        return frame.rgb

    def close(self) -> None:
        """Closes the file, in whichever pass it is."""
        self._frames = iter(())
        self._opened.close()


class StillCapture:
    """A picture, ten times a second, until somebody stops it.

    Args:
        address: `place` is its path.

    Raises:
        StreamError: no picture, or a damaged one.
    """

    def __init__(self, address: LiveAddress) -> None:
        self._rgb = read_picture(find_source(Path(address.place)).path).rgb

    def read(self) -> NDArray[np.uint8]:
        """Waits a moment; a picture never ends."""
        time.sleep(_PICTURE_EVERY_S)
        return self._rgb

    def close(self) -> None:
        """Nothing is open."""

"""A video file as a live source, played once or in a loop."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import UsageError
from mggr_edge.media.files.paths import find_source
from mggr_edge.media.files.pictures import read_picture
from mggr_edge.media.files.video_reader import TimedFrame, Video, VideoLayout, open_video
from mggr_edge.media.live.address import LiveAddress

FOR_EVER = -1


@contextmanager
def open_looped(path: Path, loops: int) -> Iterator[Video]:
    """Opens a video file that begins anew at its end, its time going on; without sound.

    Args:
        path: of the file.
        loops: how many times more it is shown; -1 for ever.

    Raises:
        MissingPackageError: PyAV is not installed.
        StreamError: no video, or a damaged one; also while its items are read.
    """
    with open_video(path) as video:
        frames = None if video.layout.frames is None else video.layout.frames * (loops + 1)
        layout = replace(video.layout, audio=(), frames=None if loops == FOR_EVER else frames)
        yield Video(layout, _again_and_again(path, loops, video))


def _again_and_again(path: Path, loops: int, first: Video) -> Iterator[TimedFrame]:
    layout = first.layout
    count = 0
    end = yield from _from(None, first, layout)
    while count != loops:
        count += 1
        with open_video(path) as video:
            end = yield from _from(end, video, layout)


def _from(start: int | None, video: Video, layout: VideoLayout) -> Generator[TimedFrame, None, int]:
    """A video's frames, the first one at `start` (None: where it is); returns where they end."""
    usual = max(1, round(1 / (layout.rate * layout.time_base)))
    shift: int | None = None
    end = start or 0
    for item in video.items:
        if isinstance(item, TimedFrame):
            if shift is None:
                shift = 0 if start is None else start - item.pts
            pts = item.pts + shift
            end = pts + (item.duration or usual)
            yield replace(item, pts=pts, time_s=float(pts * layout.time_base))
    return end


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


class VideoFileCapture:
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


class PictureFileCapture:
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

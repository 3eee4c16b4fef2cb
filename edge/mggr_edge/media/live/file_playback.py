"""Use video and picture files as live sources. A video is played once or in a loop."""

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
    """Open a video file for playback in a loop, without audio.

    The frame times continue to increase when the video starts again.

    Args:
        path: path of the file.
        loops: number of repetitions after the video was played once. -1 means that the video is
            played without end.

    Raises:
        MissingPackageError: PyAV is not installed.
        StreamError: the file contains no video or is damaged. The iteration over the items can
            also raise this error.
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
    """Yield the frames of a video with changed times.

    Args:
        start: new time of the first frame in ticks. All other times are changed by the same amount.
            `None` means that the times of the file are kept.
        video: opened video.
        layout: layout with the time base and rate of the video.

    Returns:
        The end time of the last frame in ticks.
    """
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
    """Return the live address of a file, which is then played in real time.

    Args:
        named: the file; see `find_source`.
        loops: number of repetitions after a video was played once. -1 means that the video is
            played without end.

    Raises:
        StreamError: the file does not exist or cannot be accessed.
        UsageError: the file is neither a video nor a picture.
    """
    source = find_source(named)
    if source.kind == "folder":
        raise UsageError(
            f"{named} is a folder; pass a picture or a video file instead",
            code="folder-as-live-source",
            path=named,
        )
    return LiveAddress("film" if source.kind == "video" else "still", str(source.path), loops)


class VideoFileCapture:
    """Capture that plays a video file in real time, without audio.

    Args:
        address: address of the file. Its `place` is the path of the file.

    Raises:
        MissingPackageError: PyAV is not installed.
        StreamError: the file contains no video or is damaged. The method `read` can also raise
            this error.
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
        """Time of the last frame in seconds. The time continues to increase over all repetitions.

        `None` means that no frame was read yet."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait until the next frame is due, and return the frame.

        `None` means that the last repetition has ended.
        """
        frame = next(self._frames, None)
        if frame is None:
            return None
        if self._begun_s is None:
            self._begun_s = time.monotonic() - frame.time_s
        time.sleep(max(0.0, self._begun_s + frame.time_s - time.monotonic()))
        self.stream_time_s = frame.time_s
        return frame.rgb

    def close(self) -> None:
        """Close the file, even during a repetition."""
        self._frames = iter(())
        self._opened.close()


class PictureFileCapture:
    """Capture that repeats a picture ten times per second without end.

    Args:
        address: address of the file. Its `place` is the path of the file.

    Raises:
        MissingPackageError: Pillow is not installed, or a package that Pillow needs for this
            format is not installed.
        StreamError: the file is not a still picture, or `read_picture` cannot read the file.
    """

    def __init__(self, address: LiveAddress) -> None:
        self._rgb = read_picture(find_source(Path(address.place)).path).rgb

    def read(self) -> NDArray[np.uint8]:
        """Wait for 0.1 seconds, and return the picture. The source never ends."""
        time.sleep(_PICTURE_EVERY_S)
        return self._rgb

    def close(self) -> None:
        """Do nothing, because this capture keeps no file open."""

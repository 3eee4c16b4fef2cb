"""A video file again and again, as a camera that never ends."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mggr_edge.media.files.video_reader import TimedFrame, Video, VideoLayout, open_video

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

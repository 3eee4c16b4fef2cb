"""Record a live source to one video file, or to numbered video files with a maximum length.

Numbered files are named `call-0001.mp4`, `call-0002.mp4` and so on. Each file is complete and can
be played separately. The times in each file begin at zero. A file ends when its maximum length is
reached, even if no frames arrive. Therefore, after a long loss of the source, the recording
continues in a new file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import MggrError, StreamError
from mggr_edge.media.files.marks import REDIRECTED
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout, open_video
from mggr_edge.media.files.video_writer import open_writer
from mggr_edge.media.files.written import cut_to_whole_fragments
from mggr_edge.media.live.retention import KEEP_ALL, Retention

Verb = Literal["wrote", "showed in"]


class LiveWriter(Protocol):
    """Writer for frames of one size."""

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        """Write a frame.

        Args:
            rgb: processed frame, [H, W, 3] uint8 RGB.
            at: source frame of `rgb`. The written frame gets the time of `at`.
        """
        ...


class RecordingWriter(LiveWriter, Protocol):
    """Writer for the frames of a file."""

    def end_at(self, pts: int) -> None:
        """Set the end time of the last frame, in ticks."""
        ...


@dataclass(frozen=True)
class Recording:
    """Output that records to one video file.

    During the recording, the file has a temporary name. The file gets its final name when the
    source has ended or the disk is full.

    Attributes:
        path: path of the file.
        comment: comment in the metadata of the file.
        verb: word that the summary of a run uses for this output, here "wrote".
        force: whether an existing file may be replaced.
    """

    path: Path
    comment: str = REDIRECTED
    verb: ClassVar[Verb] = "wrote"
    force: bool = False

    @property
    def name(self) -> str:
        """Path of the file."""
        return str(self.path)

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[LiveWriter]:
        """Open the file for frames of the given layout.

        Raises:
            StreamError: the file cannot be written. If another program created a file with this
                path during the recording, the error is also raised, and its message contains the
                path of the recording.
        """
        moved: list[Path] = []
        with recorded(
            self.path, layout, comment=self.comment, force=self.force, moved=moved
        ) as writer:
            yield writer
        if moved:
            raise StreamError(
                f"another program created {self.path} during the recording; the recording was "
                f"saved as {moved[0]}",
                code="recording-path-taken",
                path=self.path,
                saved_as=moved[0],
            )


@contextmanager
def recorded(
    path: Path, layout: VideoLayout, *, comment: str, force: bool, moved: list[Path]
) -> Iterator[RecordingWriter]:
    """Record one file. After an error, the frames that were recorded before the error are kept.

    Args:
        path: path of the file.
        layout: size, rate and colour of the frames.
        comment: comment in the metadata of the file.
        force: whether an existing file may be replaced.
        moved: list for the actual path of the recording. If another program creates a file at
            `path` during the recording, the actual path is appended. Otherwise, the list is not
            changed.

    Raises:
        StreamError: the file cannot be written.
    """
    failure = None
    with atomic_file(path, force=force, elsewhere=moved.append) as temporary:
        try:
            with open_writer(temporary, layout, path=path, comment=comment) as writer:
                yield writer
        except StreamError as error:
            if not _is_worth_keeping(temporary):
                raise
            failure = error
    if failure is not None:
        raise StreamError(
            f"{failure}; the file contains the frames that were recorded before the error",
            code="recording-incomplete",
            path=path,
            reason=failure,
            cause=failure.code,
        ) from failure


def _is_worth_keeping(temporary: Path) -> bool:
    """Return whether an interrupted recording contains frames.

    If an MP4 or QuickTime file ends with an incomplete fragment, the function removes this
    fragment. Players can then play the whole file.
    """
    if not temporary.exists():
        return False
    if temporary.suffix.lower() == ".mkv":
        return _holds_a_picture(temporary)
    return cut_to_whole_fragments(temporary)


def _holds_a_picture(path: Path) -> bool:
    try:
        with open_video(path):
            return True
    except StreamError:
        return False


_DIGITS = 4
_MOST_NAMES = 3
"""Maximum number of file names in the summary.

If there are more files, the summary contains only the first and the last name."""


@dataclass(frozen=True)
class Segments:
    """Output that records to numbered video files. Each file gets its name when it is complete.

    Attributes:
        path: path from which the names of the files are derived. For example, `call.mp4` results in
            `call-0001.mp4`, `call-0002.mp4` and so on. No file is written at `path` itself.
        every_s: maximum length of a file in seconds.
        comment: comment in the metadata of the files.
        verb: word that the summary of a run uses for this output, here "wrote".
        force: if `True`, the numbers begin at 1 and existing files are replaced. If `False`, the
            numbers continue after the highest existing number, so that no file is replaced.
        files: paths of the written files, in order.
        clock: function that returns a monotonic time in seconds. Tests replace this function.
        retention: limits on the files. When a file is complete, older files are deleted.
    """

    path: Path
    every_s: float
    comment: str = REDIRECTED
    verb: ClassVar[Verb] = "wrote"
    force: bool = False
    files: list[Path] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    retention: Retention = KEEP_ALL

    @property
    def name(self) -> str:
        """Names of the written files. If no file is written yet, this is `path`."""
        if not self.files:
            return str(self.path)
        first, *others = (str(self.files[0]), *(path.name for path in self.files[1:]))
        if len(self.files) <= _MOST_NAMES:
            return ", ".join((first, *others))
        return f"{first} to {others[-1]} ({len(self.files)} files)"

    @contextmanager
    def opened(self, layout: VideoLayout) -> Iterator[SegmentWriter]:
        """Open a writer. The writer creates the first file when the first frame is written."""
        with SegmentWriter(self, layout) as writer:
            yield writer


class SegmentWriter:
    """Writer that distributes the frames of a recording to numbered files.

    The time of a frame decides to which file the frame is written.
    """

    def __init__(self, segments: Segments, layout: VideoLayout) -> None:
        self._segments, self._layout = segments, layout
        self._number = 0 if segments.force else _highest_number(segments.path)
        self._file: AbstractContextManager[RecordingWriter] | None = None
        self._writer: RecordingWriter | None = None
        self._moved: list[Path] = []
        self._begun: TimedFrame | None = None
        self._ends_s = 0.0
        self._failure: MggrError | None = None

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(kind, error, trace)
        if error is None and self._failure is not None:
            raise self._failure

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        """Write a frame. If the current file has reached its maximum length, begin a new file.

        Args:
            rgb: processed frame, [H, W, 3] uint8 RGB.
            at: source frame of `rgb`. The written frame gets the time of `at`.

        Raises:
            StreamError: a file cannot be written.
        """
        if self._failure is not None:
            raise self._failure
        if self._begun is not None and at.time_s - self._begun.time_s >= self._segments.every_s:
            assert self._writer is not None
            self._writer.end_at(at.pts - self._begun.pts)
            self._close()
        if self._begun is None or self._writer is None:
            self._open(at)
        assert self._begun is not None
        assert self._writer is not None
        shifted = replace(at, pts=at.pts - self._begun.pts, time_s=at.time_s - self._begun.time_s)
        self._writer.write(rgb, shifted)

    def idle(self) -> None:
        """If the current file has reached its maximum length, end the file.

        This method is called while no frame arrives. If an error occurs, the error is stored. The
        next call of `write` raises the stored error. If `write` is not called again, the error is
        raised when the context ends.
        """
        if self._begun is not None and self._segments.clock() >= self._ends_s:
            try:
                self._close()
            except MggrError as error:
                self._failure = error

    def _open(self, at: TimedFrame) -> None:
        self._number += 1
        segments = self._segments
        self._moved = []
        self._file = recorded(
            _segment_path(segments.path, self._number),
            self._layout,
            comment=segments.comment,
            force=segments.force,
            moved=self._moved,
        )
        self._writer = self._file.__enter__()
        self._begun = at
        self._ends_s = segments.clock() + segments.every_s

    def _close(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        file, self._file, self._writer, self._begun = self._file, None, None, None
        if file is None:
            return
        file.__exit__(kind, error, trace)
        path = _segment_path(self._segments.path, self._number)
        self._segments.files.append(self._moved[0] if self._moved else path)
        self._segments.retention.apply(_numbered_files(self._segments.path))


def _segment_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number:0{_DIGITS}}{path.suffix}")


def _highest_number(path: Path) -> int:
    return max(_numbers(path), default=0)


def _numbered_files(path: Path) -> list[Path]:
    """Return all files of a segmented recording, also those of earlier runs. The oldest is first.

    With `force`, the numbers begin at 1 again, so the number does not show which file is older.
    """
    files = _numbers(path).values()
    return sorted((file for file in files if file.exists()), key=lambda one: one.stat().st_mtime)


def _numbers(path: Path) -> dict[int, Path]:
    """Return the files of a segmented recording by number."""
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d{{{_DIGITS},}}){re.escape(path.suffix)}")
    if not path.parent.is_dir():
        return {}  # the missing folder causes an error later, when the first file is opened
    found = ((entry, pattern.fullmatch(entry.name)) for entry in path.parent.iterdir())
    return {int(match[1]): entry for entry, match in found if match}

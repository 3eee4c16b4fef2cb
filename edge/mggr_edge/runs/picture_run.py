"""Redirect all frames or pages of picture files, and collect the results of a folder."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mggr_edge.common.timing import Stages
from mggr_edge.errors import MggrError, StreamError
from mggr_edge.media.files.marks import REDIRECTED, marked
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.pictures import read_pictures, write_pictures
from mggr_edge.media.files.written import copy_whole
from mggr_edge.runs.summary import Failure, RunSummary, Tally

_UNTIMED_MS = 100.0
"""Duration in milliseconds of the frames of an animation whose file contains no durations. Viewers
use the same value."""

_MOST_NAMED = 5
"""Maximum number of damaged files that are named in a note."""


@dataclass(frozen=True)
class PictureDone:
    """Result of one picture file.

    Attributes:
        path: path of the input.
        tally: counts of the frames of the file.
        is_copy: True if the output is a byte-for-byte copy of the input, because no pixel was
            changed.
        lost: names of properties that the input has and the output lacks.
        damage: description of the damage of the input; empty if the input is intact.
    """

    path: Path
    tally: Tally
    is_copy: bool = False
    lost: tuple[str, ...] = ()
    damage: str = ""


def redirect_picture(
    path: Path,
    written: Path | None,
    *,
    process: Callable[..., Any],
    reset: Callable[[], None],
    stages: Stages,
    comment: str = REDIRECTED,
) -> PictureDone:
    """Read a picture file, process it and write the result.

    Args:
        path: path of the input.
        written: path of the output; `None` writes nothing.
        process: function that processes each frame; see `FrameProcess`.
        reset: function that is called before an animation, because its frame times start at 0.
        stages: function that measures the time for reading and writing.
        comment: sentence in the metadata of videos of the same run. With `REDIRECTED`, a changed
            picture is marked as altered; see `marks`.

    Raises:
        StreamError: the input is damaged, or the output cannot be written.
        UsageError: the format of the output cannot store the picture.
    """
    tally = Tally()
    with stages("read"):
        pictures = read_pictures(path)
    if pictures[0].duration_ms is not None:
        reset()
    edited = []
    for picture, time_s in _timed(pictures):
        result = process(picture.rgb, time_s=time_s)
        tally.add(picture.rgb, result)
        edited.append(picture.edited(result.frame))
    damage = pictures[0].damage
    if written is None:
        return PictureDone(path, tally, damage=damage)
    with stages("write"):
        if not tally.has_changes and path.suffix.lower() == written.suffix.lower():
            # A newly encoded file would have a lower quality, and would be marked as altered.
            copy_whole(path, written)
            return PictureDone(path, tally, is_copy=True, damage=damage)
        if tally.has_changes and comment == REDIRECTED:
            first = edited[0]
            edited[0] = replace(first, metadata=marked(first.metadata, written.suffix))
        lost = write_pictures(written, edited)
    return PictureDone(path, tally, lost=lost, damage=damage)


def picture_notes(done: Sequence[PictureDone]) -> tuple[str, ...]:
    """Return a note on properties that the outputs lack, and a note on damaged inputs."""
    notes = []
    lost = Counter(name for one in done for name in one.lost)
    if lost:
        notes.append("not kept: " + "; ".join(counted(lost, len(done))))
    damaged = [one for one in done if one.damage]
    if damaged:
        named = [f"{one.path.name} ({one.damage})" for one in damaged[:_MOST_NAMED]]
        more = len(damaged) - len(named)
        named += [f"{more} more"] if more else []
        notes.append("read in spite of damage: " + ", ".join(named))
    return tuple(notes)


def counted(names: Counter[str], files: int) -> list[str]:
    """Return the names; if `files` is greater than 1, add the number of files to each name."""
    if files == 1:
        return list(names)
    return [f"{name} ({n} {'file' if n == 1 else 'files'})" for name, n in names.items()]


def _timed(pictures: Sequence[Picture]) -> Iterator[tuple[Picture, float | None]]:
    """Yield each picture and its time in seconds.

    If the picture is not a frame of an animation, the time is `None`.
    """
    time_ms = 0.0
    for picture in pictures:
        is_frame = picture.duration_ms is not None
        yield picture, time_ms / 1000 if is_frame else None
        time_ms += picture.duration_ms or _UNTIMED_MS


class FolderResults:
    """Collector of the results of the files of a folder."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._pictures: list[PictureDone] = []
        self._videos: list[RunSummary] = []
        self._failures: list[Failure] = []
        self._fault: Exception | None = None

    @contextmanager
    def kept(self, file: Path, written: Path | None) -> Iterator[None]:
        """If this file fails, record the error and delete the partial output."""
        try:
            yield
        except MggrError as error:
            self._failures.append(Failure(file, str(error)))
        except Exception as error:  # noqa: BLE001 - the other files are processed nevertheless
            self._fault = self._fault or error
            message = f"{file} failed with an internal error: {type(error).__name__}: {error}"
            self._failures.append(Failure(file, message, traceback.format_exc()))
        else:
            return
        if written is not None:
            written.unlink(missing_ok=True)

    def add_picture(self, done: PictureDone) -> None:
        """Add the result of a picture."""
        self._tally.merge(done.tally)
        self._pictures.append(done)

    def add_video(self, summary: RunSummary) -> None:
        """Add the result of a video."""
        self._tally.merge(summary)
        self._videos.append(summary)

    def refuse_if_all_failed(self, folder: Path) -> None:
        """If no file could be processed, raise an error.

        Raises:
            StreamError: all files failed, and no failure is an internal error.
            Exception: all files failed, and at least one failure is an internal error. The first
                internal error is raised.
        """
        if self._pictures or self._videos:
            return
        if self._fault is not None:
            raise self._fault
        raise StreamError(
            f"none of the {len(self._failures)} pictures and videos in {folder} can be processed; "
            f"the first error: {self._failures[0].message}",
            code="all-files-failed",
            path=folder,
            failed=len(self._failures),
            first=self._failures[0].path,
            reason=self._failures[0].message,
        )

    def summary(self, output: Path | None, *, ignored: int) -> RunSummary:
        """Return the results as one summary."""
        notes = Counter(note for one in self._videos for note in one.notes)
        return self._tally.summary(
            "folder",
            output,
            ignored=ignored,
            files=len(self._pictures) + len(self._videos),
            videos=len(self._videos),
            failures=tuple(self._failures),
            notes=(*picture_notes(self._pictures), *counted(notes, len(self._videos))),
        )

"""Redirects picture files, each frame or page of them, and folders of picture files."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggr_edge.common.timing import Stages
from mggr_edge.errors import MggrError, StreamError
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.pictures import read_pictures, write_pictures
from mggr_edge.media.files.written import copy_whole
from mggr_edge.runs.summary import Failure, RunSummary, Tally

_UNTIMED_MS = 100.0
"""Viewers show a frame without a duration this long."""

_MOST_NAMED = 5
"""Damaged files that a note names."""


@dataclass(frozen=True)
class PictureDone:
    """What was done with one picture file.

    Attributes:
        path: of the input.
        tally: of its frames.
        is_copy: no pixel was changed, so the output is the input, byte for byte.
        lost: names of what the output does not hold of the input.
        damage: what is missing of the input.
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
) -> PictureDone:
    """Reads a picture file, processes it and writes the result.

    Args:
        path: the input.
        written: the output; None writes nothing.
        process: as `FrameProcess`.
        reset: called before an animation, whose times begin at 0.
        stages: measures reading and writing.

    Raises:
        StreamError: the input is damaged, or the output cannot be written.
        UsageError: the output's format cannot hold the picture.
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
            # Encoding again would only lose, and claim an altered gaze.
            copy_whole(path, written)
            return PictureDone(path, tally, is_copy=True, damage=damage)
        lost = write_pictures(written, edited)
    return PictureDone(path, tally, lost=lost, damage=damage)


def picture_notes(done: Sequence[PictureDone]) -> tuple[str, ...]:
    """One note about everything that outputs do not hold, and one about damaged inputs."""
    notes = []
    lost = Counter(name for one in done for name in one.lost)
    if lost:
        notes.append("not kept: " + "; ".join(counted(lost, len(done))))
    damaged = [one for one in done if one.damage]
    if damaged:
        named = [f"{one.path.name} ({one.damage})" for one in damaged[:_MOST_NAMED]]
        more = len(damaged) - len(named)
        named += [f"{more} more"] if more else []
        notes.append("damaged, and read all the same: " + ", ".join(named))
    return tuple(notes)


def counted(names: Counter[str], files: int) -> list[str]:
    """Names with the number of files that they hold for, where there are several files."""
    if files == 1:
        return list(names)
    return [f"{name} ({n} {'file' if n == 1 else 'files'})" for name, n in names.items()]


def _timed(pictures: Sequence[Picture]) -> Iterator[tuple[Picture, float | None]]:
    """Frames with their times in seconds; pictures and pages with none."""
    time_ms = 0.0
    for picture in pictures:
        is_frame = picture.duration_ms is not None
        yield picture, time_ms / 1000 if is_frame else None
        time_ms += picture.duration_ms or _UNTIMED_MS


class FolderResults:
    """Collects what was done with each file of a folder."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._pictures: list[PictureDone] = []
        self._videos: list[RunSummary] = []
        self._failures: list[Failure] = []
        self._fault: Exception | None = None

    @contextmanager
    def kept(self, file: Path, written: Path | None) -> Iterator[None]:
        """Keeps the results of other files when this one fails, and removes what it has written."""
        try:
            yield
        except MggrError as error:
            self._failures.append(Failure(file, str(error)))
        except Exception as error:  # noqa: BLE001 - one file's fault must not discard the others
            self._fault = self._fault or error
            message = f"{file} failed by an internal error: {type(error).__name__}: {error}"
            self._failures.append(Failure(file, message, traceback.format_exc()))
        else:
            return
        if written is not None:
            written.unlink(missing_ok=True)

    def add_picture(self, done: PictureDone) -> None:
        """Adds a picture that was processed."""
        self._tally.merge(done.tally)
        self._pictures.append(done)

    def add_video(self, summary: RunSummary) -> None:
        """Adds a video that was processed."""
        self._tally.merge(summary)
        self._videos.append(summary)

    def refuse_if_all_failed(self, folder: Path) -> None:
        """Raises what the files failed by, where none could be processed.

        Raises:
            StreamError: all failed, none by an internal error.
            Exception: the first internal error, where all failed.
        """
        if self._pictures or self._videos:
            return
        if self._fault is not None:
            raise self._fault
        raise StreamError(
            f"no picture or video of {folder} can be processed, {len(self._failures)} tried; "
            f"the first: {self._failures[0].message}"
        )

    def summary(self, output: Path | None, *, ignored: int) -> RunSummary:
        """The results as one summary."""
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

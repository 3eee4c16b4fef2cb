"""One picture file through a process: each frame of an animation, each page, or the one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggr_edge.common.timing import Stages
from mggr_edge.media.files.picture import Picture
from mggr_edge.media.files.pictures import read_pictures, write_pictures
from mggr_edge.media.files.whole_file import copy_whole
from mggr_edge.runs.summary import Tally

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
        process: as `run.Process`.
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

"""What a source of eye patches lists, with labels and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Advance
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, Side


@dataclass(frozen=True)
class EyeLabel:
    """One patch's labels, as photographed: nothing mirrored.

    Attributes:
        subject: who; patches of one person carry one name.
        side: the subject's own.
        head: where the face points, relative to the camera.
        gaze: where the eye looks, relative to the camera; None where nobody said.
    """

    subject: str
    side: Side
    head: Gaze
    gaze: Gaze | None


@dataclass(frozen=True)
class BadPatch:
    """A patch that must not be trained on, and why.

    Attributes:
        file: where it lies.
        reason: what is wrong with it.
        fatal: training refuses a source that holds such a patch, because it is not
            what it should be; others, that show no eye for example, are left out.
        within: which patch of a file that holds many.
    """

    file: Path
    reason: str
    fatal: bool = True
    within: str = ""

    @property
    def name(self) -> str:
        """The file's name, and the patch within it."""
        return f"{self.file.name} {self.within}".rstrip()


@dataclass(frozen=True)
class Entry:
    """A patch with its label, and where its picture lies.

    Attributes:
        file: the file.
        label: what is known of it.
        number: which patch of a file that holds many; 0 where a file is one patch.
    """

    file: Path
    label: EyeLabel
    number: int = 0


ReadEntry = Callable[[Entry], NDArray[np.uint8] | BadPatch]
"""Reads a patch, [64, 64, 3] uint8 RGB, nothing mirrored, or says what is wrong with it."""


@dataclass(frozen=True)
class Listing:
    """All patches of a source, one after the other: however many, they need no memory.

    Attributes:
        entries: can be walked once; patches whose label is impossible are bad already.
        read: reads an entry's picture; a plain function, so that processes can share the work.
        licence: what may be done with what is trained on them.
        head_bin_deg: head poses within one bin of this width may be paired; 0
            where head poses were set, not measured, and repeat exactly.
    """

    entries: Iterator[Entry | BadPatch]
    read: ReadEntry
    licence: str
    head_bin_deg: float = 0.0

    def looked_at(self) -> Iterator[tuple[EyeLabel, NDArray[np.uint8]] | BadPatch]:
        """Reads one picture after the other: good ones with their labels, and the bad ones."""
        for entry in self.entries:
            found = entry if isinstance(entry, BadPatch) else self.read(entry)
            if isinstance(entry, BadPatch) or isinstance(found, BadPatch):
                assert isinstance(found, BadPatch)
                yield found
            else:
                yield entry.label, found


@dataclass(frozen=True)
class Tally:
    """What a source holds.

    Attributes:
        counts: what is counted (subject, side, head pitch ...) -> value -> good patches.
        good: good patches.
        unlabelled: those of them that nobody said the gaze of.
        bad: the others.
        licence: what may be done with what is trained on them.
    """

    counts: dict[str, dict[str, int]]
    good: int
    unlabelled: int
    bad: tuple[BadPatch, ...]
    licence: str


def tally(listing: Listing, *, source: Path, advance: Advance) -> Tally:
    """Looks at every patch; measured angles are counted to the nearest bin, others to a degree.

    Args:
        listing: of the source.
        source: for messages.
        advance: called with numbers of patches.

    Raises:
        DataError: there is none, or the listing's own complaint.
    """
    step = listing.head_bin_deg or 1.0
    counters: dict[str, Counter[str]] = {}
    bad: list[BadPatch] = []
    good = unlabelled = 0
    for found in listing.looked_at():
        advance(1)
        if isinstance(found, BadPatch):
            bad.append(found)
            continue
        good += 1
        unlabelled += found[0].gaze is None
        for what, value in _counted(found[0], step).items():
            counters.setdefault(what, Counter())[value] += 1
    if not good and not bad:
        raise DataError(f"{source} holds no eye patch")
    counts = {what: dict(sorted(counter.items())) for what, counter in counters.items()}
    return Tally(counts, good, unlabelled, tuple(bad), listing.licence)


def _counted(label: EyeLabel, step: float) -> dict[str, str]:
    def rounded(angle_deg: float) -> str:
        return f"{step * round(angle_deg / step) + 0.0:+g}"

    gaze = label.gaze
    return {
        "subject": label.subject,
        "side": label.side,
        "head pitch": rounded(label.head.pitch_deg),
        "head yaw": rounded(label.head.yaw_deg),
        "gaze pitch": "unknown" if gaze is None else rounded(gaze.pitch_deg),
        "gaze yaw": "unknown" if gaze is None else rounded(gaze.yaw_deg),
    }

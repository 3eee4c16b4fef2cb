"""Lists and checks what a source of eye patches holds, with labels and counts."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Advance
from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_tf.data.schema import EyeSamples, make_samples


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


@dataclass(frozen=True)
class Scan:
    """What a source holds.

    Attributes:
        labels: of the good patches.
        images: [N, 64, 64, 3] uint8 RGB, the good patches, nothing mirrored.
        bad: the others.
        licence: what may be done with what is trained on them.
        head_bin_deg: head poses within one bin of this width may be paired; 0
            where head poses were set, not measured, and repeat exactly.
    """

    labels: tuple[EyeLabel, ...]
    images: NDArray[np.uint8]
    bad: tuple[BadPatch, ...]
    licence: str
    head_bin_deg: float = 0.0

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all who have a good patch, sorted."""
        return tuple(sorted({label.subject for label in self.labels}))

    @property
    def unlabelled(self) -> int:
        """How many good patches nobody said the gaze of."""
        return sum(label.gaze is None for label in self.labels)

    def counts(self, what: Callable[[EyeLabel], str]) -> dict[str, int]:
        """How many good patches there are by subject, side, head pose or gaze."""
        return dict(sorted(Counter(what(label) for label in self.labels).items()))


def scan_listing(listing: Listing) -> Scan:
    """Reads all that a source lists, and sorts the good from the bad."""
    labels: list[EyeLabel] = []
    images: list[NDArray[np.uint8]] = []
    bad: list[BadPatch] = []
    for found in listing.looked_at():
        if isinstance(found, BadPatch):
            bad.append(found)
        else:
            labels.append(found[0])
            images.append(found[1])
    return Scan(
        labels=tuple(labels),
        images=_stacked(images),
        bad=tuple(bad),
        licence=listing.licence,
        head_bin_deg=listing.head_bin_deg,
    )


def _stacked(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """[N, 64, 64, 3], of no patch too."""
    if not images:
        return np.zeros((0, DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3), np.uint8)
    return np.stack(images)


def refuse_fatal(bad: Sequence[BadPatch], source: Path) -> None:
    """Nothing is trained on a source that is not what it should be.

    Raises:
        DataError: a bad patch is fatal.
    """
    fatal = [one for one in bad if one.fatal]
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise DataError(
            f"{fatal[0].file.parent / fatal[0].name}: {fatal[0].reason}{more}; "
            f"`mggr-tf data check {shlex.quote(str(source))}` lists all: remove or replace them"
        )


def refuse_unlabelled(unlabelled: int, patches: int, source: Path) -> None:
    """Nobody can learn where an eye looks that nobody knows.

    Raises:
        DataError: some patches have no gaze.
    """
    if unlabelled:
        raise DataError(
            f"{source}: nobody said where the eye looks in {unlabelled} of {patches} patches; "
            "fill in pitch_deg and yaw_deg or remove their rows"
        )


def samples_of(scanned: Scan, *, source: Path) -> EyeSamples:
    """The good patches as training samples.

    Args:
        scanned: what `source` holds.
        source: for the record, and for messages.

    Raises:
        DataError: a corrupt or wrongly sized file shows that the source is not what
            it should be; no patch is good; or some have no gaze label.
    """
    refuse_fatal(scanned.bad, source)
    if not scanned.labels:
        raise DataError(
            f"{source}: not one of {len(scanned.bad)} patches can be used; "
            f"`mggr-tf data check {shlex.quote(str(source))}` says why"
        )
    gazes = [label.gaze for label in scanned.labels if label.gaze is not None]
    refuse_unlabelled(scanned.unlabelled, len(scanned.labels), source)
    return make_samples(
        scanned.images,
        gaze_deg=np.stack([gaze.array() for gaze in gazes]),
        head_deg=np.stack([label.head.array() for label in scanned.labels]),
        sides=[label.side for label in scanned.labels],
        subjects=[label.subject for label in scanned.labels],
        source=source.name,
        licence=scanned.licence,
        head_bin_deg=scanned.head_bin_deg,
    )

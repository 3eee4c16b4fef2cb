"""List and validate the eye patches of a data source, and count them by label.

An eye patch is an image of one eye, 64 x 64 pixels. A data source is a folder that contains patches
in a supported format.
"""

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
    """The labels of one patch. Angles refer to the axes of the photograph before any mirroring.

    Attributes:
        subject: name of the person in the image.
        side: side of the eye, from the subject's point of view.
        head: direction of the face relative to the camera.
        gaze: direction of the gaze relative to the camera, or `None` if the patch has no gaze
            label.
    """

    subject: str
    side: Side
    head: Gaze
    gaze: Gaze | None


@dataclass(frozen=True)
class BadPatch:
    """A patch that cannot be used for training, and the reason.

    Attributes:
        file: path of the file.
        reason: description of the problem.
        fatal: True if training must reject the whole data source because of this patch, for example
            because its file is corrupt. False if training only skips this patch, for example
            because the patch shows no eye.
        within: identifier of the patch in the file, for example `left 3`. The text is empty if the
            file contains only one patch.
    """

    file: Path
    reason: str
    fatal: bool = True
    within: str = ""

    @property
    def name(self) -> str:
        """The file name, followed by the identifier of the patch in the file."""
        return f"{self.file.name} {self.within}".rstrip()


@dataclass(frozen=True)
class Entry:
    """The label of a patch, and the location of its image.

    Attributes:
        file: path of the file.
        label: labels of the patch.
        number: number of the patch in the file, counted from 1. The number is 0 if the file
            contains only one patch.
    """

    file: Path
    label: EyeLabel
    number: int = 0


ReadEntry = Callable[[Entry], NDArray[np.uint8] | BadPatch]
"""A function that reads the image of an entry, [64, 64, 3] uint8 RGB. The image is not mirrored. If
the image cannot be used, the function returns a `BadPatch`."""


@dataclass(frozen=True)
class Listing:
    """An iterator over all patches of a data source, and a function that reads their images.

    Even for a large data source, the iterator needs little memory.

    Attributes:
        entries: iterator over the patches, for a single use. If the label of a patch is invalid,
            the iterator yields a `BadPatch`.
        read: function that reads the image of an entry. `mggr-tf data pack` runs this function in
            several processes.
        licence: terms of use for models that are trained on these patches.
        head_bin_deg: width of the head pose bins, in degrees. A bin is an interval of pitch and of
            yaw. Two patches can be paired only if their head poses are in the same bin. If the data
            set contains only a few fixed head poses, the width is 0.
    """

    entries: Iterator[Entry | BadPatch]
    read: ReadEntry
    licence: str
    head_bin_deg: float = 0.0

    def looked_at(self) -> Iterator[tuple[EyeLabel, NDArray[np.uint8]] | BadPatch]:
        """Read the images one after another.

        Yields:
            (label, image) for a valid patch, and a `BadPatch` for any other patch.
        """
        for entry in self.entries:
            found = entry if isinstance(entry, BadPatch) else self.read(entry)
            if isinstance(entry, BadPatch) or isinstance(found, BadPatch):
                assert isinstance(found, BadPatch)
                yield found
            else:
                yield entry.label, found


@dataclass(frozen=True)
class Tally:
    """The numbers of patches in a data source, by label.

    Attributes:
        counts: `counts[category][value]` is the number of valid patches with this value. Examples
            of categories are `subject` and `head pitch`.
        good: number of valid patches.
        unlabelled: number of valid patches without a gaze label.
        bad: patches that are not valid.
        licence: terms of use for models that are trained on these patches.
    """

    counts: dict[str, dict[str, int]]
    good: int
    unlabelled: int
    bad: tuple[BadPatch, ...]
    licence: str


def tally(listing: Listing, *, source: Path, advance: Advance) -> Tally:
    """Read every patch of a source and count the patches by subject, side, head pose and gaze.

    Angles are rounded to multiples of `listing.head_bin_deg`. If `listing.head_bin_deg` is 0,
    angles are rounded to whole degrees.

    Args:
        listing: listing of the source.
        source: path of the source, for error messages.
        advance: progress callback. Its argument is the number of patches that were processed since
            the last call.

    Raises:
        DataError: the source contains no patch, or it cannot be listed.
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
        raise DataError(f"{source} contains no eye patch", code="no-patches", path=source)
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
    """The patches of a data source in memory.

    Attributes:
        labels: labels of the valid patches.
        images: images of the valid patches, [N, 64, 64, 3] uint8 RGB. The images are not mirrored.
        bad: patches that are not valid.
        licence: terms of use for models that are trained on these patches.
        head_bin_deg: see `Listing`.
    """

    labels: tuple[EyeLabel, ...]
    images: NDArray[np.uint8]
    bad: tuple[BadPatch, ...]
    licence: str
    head_bin_deg: float = 0.0

    @property
    def subjects(self) -> tuple[str, ...]:
        """The sorted names of all subjects that have a valid patch."""
        return tuple(sorted({label.subject for label in self.labels}))

    @property
    def unlabelled(self) -> int:
        """The number of valid patches without a gaze label."""
        return sum(label.gaze is None for label in self.labels)

    def counts(self, what: Callable[[EyeLabel], str]) -> dict[str, int]:
        """Apply `what` to the label of each valid patch, and count the patches for each result.

        Returns:
            result -> number of valid patches, sorted by result.
        """
        return dict(sorted(Counter(what(label) for label in self.labels).items()))


def scan_listing(listing: Listing) -> Scan:
    """Read all patches of a listing into memory, and separate valid and bad patches."""
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
    """Stack images to [N, 64, 64, 3]. N can be 0."""
    if not images:
        return np.zeros((0, DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3), np.uint8)
    return np.stack(images)


def refuse_fatal(bad: Sequence[BadPatch], source: Path) -> None:
    """Raise an error if at least one bad patch is fatal.

    Raises:
        DataError: at least one bad patch is fatal.
    """
    fatal = [one for one in bad if one.fatal]
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise DataError(
            f"{fatal[0].file.parent / fatal[0].name}: {fatal[0].reason}{more}; "
            f"`mggr-tf data check {shlex.quote(str(source))}` lists all invalid patches; remove "
            "or replace them",
            code="patch-invalid",
            path=fatal[0].file,
            within=fatal[0].within,
            reason=fatal[0].reason,
            count=len(fatal),
        )


def refuse_unlabelled(unlabelled: int, patches: int, source: Path) -> None:
    """Raise an error if at least one patch has no gaze label.

    Raises:
        DataError: at least one patch has no gaze label.
    """
    if unlabelled:
        raise DataError(
            f"{source}: {unlabelled} of {patches} patches have no gaze label; "
            "fill in 'pitch_deg' and 'yaw_deg', or remove the rows of these patches",
            code="gaze-label-missing",
            path=source,
            count=unlabelled,
            patches=patches,
        )


def samples_of(scanned: Scan, *, source: Path) -> EyeSamples:
    """Return the valid patches as training samples.

    Args:
        scanned: patches that were read from the source.
        source: path of the source. The samples contain its folder name, and error messages contain
            the path.

    Raises:
        DataError: a bad patch is fatal, for example because its file is corrupt.
        DataError: no patch is valid.
        DataError: at least one patch has no gaze label.
    """
    refuse_fatal(scanned.bad, source)
    if not scanned.labels:
        raise DataError(
            f"{source}: none of the {len(scanned.bad)} patches can be used; "
            f"`mggr-tf data check {shlex.quote(str(source))}` lists the reasons",
            code="no-usable-patch",
            path=source,
            count=len(scanned.bad),
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

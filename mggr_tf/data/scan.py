"""What a source of eye patches holds: good patches with their labels, and the bad ones."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_tf.data.listing import BadPatch, EyeLabel, Listing
from mggr_tf.data.schema import EyeSamples, make_samples


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

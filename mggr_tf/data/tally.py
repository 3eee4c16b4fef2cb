"""Counts what a source holds; of the pictures only one is in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mggr_edge.common.progress import Advance
from mggr_edge.errors import DataError
from mggr_tf.data.label import EyeLabel
from mggr_tf.data.listing import BadPatch, Listing


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

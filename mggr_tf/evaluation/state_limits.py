"""Derives the device's limits of openness, visible iris and occlusion from an estimator's answers.

An eye that has to be left alone (closed, iris hidden, covered) must not be redirected; an eye of a
data set of gaze (open, nothing before it) should be redirected in full. Both kinds are known: the
first from drawn eyes, the second from drawn eyes and from photographs. The limits of a measure are
the values that all but a small share of either kind lie beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.schema import STATES

_OPENNESS, _IRIS, _OCCLUSION = (STATES.index(name) for name in STATES)

LEFT_ALONE_BEYOND, REDIRECTED_BEYOND = 0.99, 0.98
"""Shares of the eyes of either kind that lie beyond its limit."""

_CLOSED_BELOW, _HIDDEN_BELOW, _COVERED_FROM = 0.08, 0.15, 0.5
"""True openness, visible iris and occlusion of eyes that have to be left alone."""
_OPEN_FROM, _SHOWN_FROM, _FREE_BELOW = 0.15, 0.5, 0.05
"""The same of eyes that should be redirected."""
_LEAST_APART = 0.02


@dataclass(frozen=True)
class MeasureLimits:
    """Limits of one measure.

    Attributes:
        none: of the value with which an eye is left alone.
        full: of the value with which it is redirected in full.
        left_alone, redirected: share of the eyes of either kind beyond its limit.
    """

    none: float
    full: float
    left_alone: float
    redirected: float


StateLimits = dict[str, MeasureLimits]
"""By the names of `STATES`."""


def derive_limits(
    seen: NDArray[np.float32], right: NDArray[np.float32], open_eyes: NDArray[np.float32]
) -> StateLimits | None:
    """Limits for the answers of one estimator.

    Args:
        seen: [N, 3] its answers for drawn eyes.
        right: [N, 3] their true states.
        open_eyes: [M, 3] its answers for photographed eyes that are open and not covered.

    Returns:
        limits by measure; None where one of the kinds is missing.
    """
    openness, iris, occlusion = right.T
    free = occlusion < _FREE_BELOW
    good = free & (openness >= _OPEN_FROM) & (iris >= _SHOWN_FROM)
    left_alone = {
        _OPENNESS: free & (openness < _CLOSED_BELOW),
        _IRIS: free & (iris < _HIDDEN_BELOW),
        _OCCLUSION: occlusion >= _COVERED_FROM,
    }
    redirected = np.concatenate([seen[good], open_eyes])
    if not len(redirected) or not all(rows.any() for rows in left_alone.values()):
        return None
    found = {}
    for place, name in enumerate(STATES):
        # Occlusion counts the other way: its high values are left alone.
        sign = -1 if place == _OCCLUSION else 1
        low, high = sign * seen[left_alone[place], place], sign * redirected[:, place]
        none = float(np.quantile(low, LEFT_ALONE_BEYOND))
        full = float(np.quantile(high, 1 - REDIRECTED_BEYOND))
        # Kinds that overlap: in the middle of the overlap, as steep as limits may be.
        if full - none < _LEAST_APART:
            middle = (none + full) / 2
            none, full = middle - _LEAST_APART / 2, middle + _LEAST_APART / 2
        found[name] = MeasureLimits(
            none=sign * none,
            full=sign * full,
            left_alone=float((low <= none).mean()),
            redirected=float((high >= full).mean()),
        )
    return found


def limits_text(limits: StateLimits) -> str:
    """A table for people."""
    lines = [
        f"{'limits that follow':<20}{'none':>8}{'full':>8}{'left alone':>14}{'redirected':>14}"
    ]
    lines += [
        f"{name:<20}{of.none:>8.3f}{of.full:>8.3f}{of.left_alone:>14.1%}{of.redirected:>14.1%}"
        for name, of in limits.items()
    ]
    return "\n".join(lines)

"""The looks into the lens among all looks of a person: the mode of their gazes near the lens.

A mean would be pulled to the screen, which people look at more often than at the lens. A mode is
not: looks at the lens and looks at the screen are two clusters, and hill climbing from the lens
ends on the nearer one.

References:
    [1] Comaniciu, Meer, Mean Shift, PAMI 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, degrees, exp
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCREEN_DEG = degrees(atan2(0.10, 0.60))
"""Angle between the lens and the middle of a small laptop's screen: 10 cm at 60 cm."""
_GAIN = 0.59
"""Degrees of pitch that the packaged estimator shows per degree (Columbia people 0001-0027)."""

MOST_CHANGE_DEG = SCREEN_DEG * _GAIN / 2
"""A cluster that is further from the lens may be that of the screen, which is as near to it."""

BANDWIDTH_DEG = 1.5
"""Of the kernel: about the noise of a steadied estimate. Two clusters have two modes if they are
apart by twice the root of the sum of squares of both."""

NEAR_DEG = 2 * BANDWIDTH_DEG
"""Looks that are nearer to a mode belong to it."""

MEMORY_S = 300.0
"""Looks lose their weight with this time constant."""

LEAST_SHARE = 0.05
"""Of all looks, a cluster holds at least this share; fewer are strays of the estimator."""

LEAST_S = 10.0
"""A cluster holds at least looks of this length together."""

_CELL_DEG = 0.5
_CELLS = 2 * int(np.ceil((MOST_CHANGE_DEG + 3 * BANDWIDTH_DEG) / _CELL_DEG)) + 1
_CLIMB_STEPS = 100
_CLIMBED_DEG = 0.01

Found = Literal["few", "far", "near"]
"""Too few looks near the lens; the nearest cluster is out of bounds; it is within bounds."""


@dataclass(frozen=True)
class Cluster:
    """The cluster of looks that is nearest to the lens.

    Attributes:
        found: whether it may be taken for looks into the lens.
        gaze_deg: (pitch, yaw) of its mode; (0, 0) unless `found` is "near".
        share: of all looks, in [0, 1].
    """

    found: Found
    gaze_deg: tuple[float, float] = (0.0, 0.0)
    share: float = 0.0


class LensLooks:
    """Gathers gazes in a histogram around the lens, and finds its mode nearest to the lens."""

    def __init__(self) -> None:
        self._weights_s = np.zeros((_CELLS, _CELLS))
        self._all_s = 0.0

    def add(self, gaze_deg: ArrayLike, seconds: float) -> None:
        """Adds a look.

        Args:
            gaze_deg: [2] (pitch, yaw) relative to the lens.
            seconds: its length.
        """
        kept = exp(-seconds / MEMORY_S)
        self._weights_s *= kept
        self._all_s = self._all_s * kept + seconds
        place = np.asarray(gaze_deg, np.float64) / _CELL_DEG + _CELLS // 2
        if not ((place >= 0) & (place < _CELLS - 1)).all():
            return
        low = place.astype(int)
        row, column = place - low
        cells = self._weights_s[low[0] : low[0] + 2, low[1] : low[1] + 2]
        cells += seconds * np.outer((1 - row, row), (1 - column, column))

    def cluster(self) -> Cluster:
        """The cluster whose mode is reached by mean shift [1] from the lens."""
        mode = np.zeros(2)
        for _ in range(_CLIMB_STEPS):
            kernel = self._weights_s * np.exp(-_squares_deg2(mode) / (2 * BANDWIDTH_DEG**2))
            # Weight that the looks of one second would have three bandwidths away.
            if kernel.sum() < exp(-4.5):
                return Cluster("few")
            step = _mean(kernel) - mode
            mode += step
            if np.linalg.norm(mode) > MOST_CHANGE_DEG:
                return Cluster("far" if self._all_s >= LEAST_S else "few")
            if np.linalg.norm(step) < _CLIMBED_DEG:
                break
        held_s = float(self._weights_s[_squares_deg2(mode) <= NEAR_DEG**2].sum())
        share = held_s / self._all_s
        if held_s < LEAST_S or share < LEAST_SHARE:
            return Cluster("few", share=share)
        return Cluster("near", (float(mode[0]), float(mode[1])), share)


_AXIS_DEG = (np.arange(_CELLS) - _CELLS // 2) * _CELL_DEG


def _squares_deg2(centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance of each cell from a gaze."""
    distances: NDArray[np.float64] = (_AXIS_DEG[:, None] - centre[0]) ** 2 + (
        _AXIS_DEG - centre[1]
    ) ** 2
    return distances


def _mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = weights.sum(axis=1), weights.sum(axis=0)
    return np.array([rows @ _AXIS_DEG, columns @ _AXIS_DEG]) / weights.sum()

"""What two photographs of one gaze would differ by: the floor under every picture metric.

The data set has one photograph for each gaze, so the floor cannot be measured. It
is extrapolated: copying the source differs from the target by an amount that grows
with the angle between them; the line through its means at the smaller angles is read
at angle zero. What is left there is what the people did between two photographs
(moved, blinked, changed the light on them), which no redirector can know.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_tf.evaluation.scores import PairScores

_LINEAR_TO_DEG = 16.0
"""Beyond, the curve bends: an iris that is gone cannot go further."""


def floor_of(scores: PairScores, metric: str) -> float:
    """A metric of `copy`, extrapolated to a shift of 0 degrees.

    Raises:
        ValueError: fewer than two different shifts up to 16 degrees.
    """
    near = scores.shift_deg <= _LINEAR_TO_DEG
    shift, values = np.round(scores.shift_deg[near], 1), scores.metrics["copy"][metric][near]
    angles = np.unique(shift)
    if len(angles) < 2:
        raise ValueError("a line needs two shifts")
    means, weights = _means(shift, values, angles)
    return float(np.polyfit(angles, means, 1, w=np.sqrt(weights))[1])


def _means(
    shift: NDArray[np.float64], values: NDArray[np.float64], angles: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    where = [shift == angle for angle in angles]
    return np.array([values[w].mean() for w in where]), np.array([w.sum() for w in where], float)

"""State of an eye from its landmarks, for bundles whose estimator has no output `state`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.eye_state import EyeState
from mggr_edge.vision.iris import Eye

_DISC_POINTS = 256
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def state_from_landmarks(eye: Eye) -> EyeState:
    """Returns the state that an eye's outline and iris show.

    The occlusion is 0, because landmarks do not show what covers an eye.

    Args:
        eye: as the iris model found it, in frame pixels.
    """
    return EyeState.from_array([eye.openness, _part_of_iris_inside(eye), 0.0])


def _part_of_iris_inside(eye: Eye) -> float:
    """Part of the iris disc's area that lies inside the outline, in [0, 1]."""
    points = np.asarray(eye.iris_centre) + eye.iris_radius_px * _DISC
    return float(_are_inside(points, eye.outline.astype(np.float64)).mean())


def _are_inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] whether each of [N, 2] points lies inside the [M, 2] polygon, by the even-odd rule."""
    x, y = points[:, 0, None], points[:, 1, None]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    lies_beyond = x0 + (y - y0) * (x1 - x0) / rise > x
    return np.count_nonzero(crosses & lies_beyond, axis=1) % 2 == 1


def _disc_points() -> NDArray[np.float64]:
    """[N, 2] points spread evenly over the unit disc."""
    number = np.arange(_DISC_POINTS)
    radius, angle = np.sqrt((number + 0.5) / _DISC_POINTS), number * _GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


_DISC = _disc_points()

"""The region of a patch in which something that covers it counts as an occlusion of the eye.

Between the lids for an open eye. A closed eye has no such area, so the region is never narrower
than `LEAST_OPENNESS`: the lids around the line where they meet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_OPENNESS = 0.16
"""Least height of the region as a share of the distance between the corners."""

OUTLINE_POINTS = 16
"""Of an outline, and of a region: outer corner, 7 points of the lower lid, inner corner, 7 points
of the upper lid and back; in the order of `mggr_edge.vision.iris.Eye.outline`."""

USUAL_REGION: tuple[tuple[float, float], ...] = (
    *((6, 33), (8, 34), (13, 35), (21, 37), (30, 38), (39, 38), (47, 37), (52, 37)),
    *((54, 36), (52, 34), (47, 30), (39, 25), (30, 23), (21, 25), (13, 28), (8, 31)),
)
"""The mean of the regions of drawn eyes of the canonical side, for a patch of 64 x 64 pixels whose
own region nobody knows. Patches are cut by the eye, so it errs by about 3 pixels."""

_INNER = OUTLINE_POINTS // 2
_LOWER = slice(1, _INNER)
_UPPER = slice(OUTLINE_POINTS - 1, _INNER, -1)
_PROFILE = np.sin(np.pi * np.arange(1, _INNER) / _INNER)
"""Least height of the region from the outer to the inner corner, as a share of its greatest."""


def lid_region(outline: NDArray[np.floating]) -> NDArray[np.float32]:
    """The region for the outline of an eye in a level patch, of either side.

    Args:
        outline: [..., 16, 2] pixels (x, y), see `OUTLINE_POINTS`. NaN where it is unknown.

    Returns:
        [..., 16, 2] float32 pixels, a closed polygon in the same order.
    """
    points = np.asarray(outline, np.float64)
    along = points[..., _INNER, :] - points[..., 0, :]
    width = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)  # [..., 1]
    down = np.stack([-along[..., 1], along[..., 0]], -1)[..., None, :] / width[..., None]
    down = np.where(down[..., 1:] < 0, -down, down)
    upper, lower = points[..., _UPPER, :], points[..., _LOWER, :]
    gap = np.sum((lower - upper) * down, axis=-1)  # [..., 7]
    missing = np.maximum(LEAST_OPENNESS * width * _PROFILE - gap, 0)[..., None] / 2 * down
    region = points.copy()
    region[..., _UPPER, :] = upper - missing
    region[..., _LOWER, :] = lower + missing
    return region.astype(np.float32)

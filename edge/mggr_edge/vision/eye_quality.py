"""Calculate the sharpness of an eye, and the state of an eye from its landmarks.

The state consists of eye opening, visible fraction of the iris, and occlusion. If the estimator has
no output `state`, the state from landmarks is used.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import EyeCrop
from mggr_edge.models.network_io import EyeState
from mggr_edge.vision.iris import Eye

_DARK_LEVELS = 10.0
"""Grey levels that are added to the mean brightness, because the mean may be almost 0.

Even with this addition, noise in a dark picture results in a sharpness that is too high.
"""

_SOBEL_PER_LEVEL = 8.0
_STRONG = 0.9
_FEWEST_PX = 10


def sharpness_of_eye(patch: NDArray[np.uint8], eye: Eye, crop: EyeCrop) -> float:
    """Return the sharpness between the lids of an eye.

    If fewer than 10 pixels are between the lids, the result is 0.

    Args:
        patch: [S, S, 3] uint8 RGB patch, the input of the networks.
        eye: the eye. Its outline is in frame pixels.
        crop: the square of the frame that was resampled to the patch.
    """
    size = patch.shape[0]
    to_patch = crop.eye_from_frame(size)
    outline = eye.outline.astype(np.float64) @ to_patch[:, :2].T + to_patch[:, 2]
    opening = np.zeros((size, size), np.uint8)
    cv2.fillPoly(opening, [np.rint(16 * outline).astype(np.int32)], 1, shift=4)
    return sharpness(patch, opening) if np.count_nonzero(opening) >= _FEWEST_PX else 0.0


def sharpness(patch: NDArray[np.uint8], opening: NDArray[np.uint8]) -> float:
    """Return the strength of the edges between the lids, divided by the brightness.

    In sharp frames of the test videos, an iris in the white of the eye has a sharpness of 0.2 to
    0.4. In 1200 labelled patches, which include reflecting glasses, the sharpness is at least
    0.088. If plain skin colour covers the eye, the sharpness is 0.02. If the blur is as wide as an
    eighth of the patch, the sharpness is also 0.02.

    Args:
        patch: [S, S, 3] uint8 RGB patch, the input of the networks.
        opening: [S, S] uint8 mask. Pixels between the lids are 1. At least one pixel must be 1.

    Returns:
        90th percentile of the gradient magnitude in grey levels per pixel, divided by (10 + the
        mean grey level).
    """
    between = opening > 0
    grey = cv2.cvtColor(patch.astype(np.float32), cv2.COLOR_RGB2GRAY)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    edges = cv2.magnitude(across, down)[between] / _SOBEL_PER_LEVEL
    rank = int(_STRONG * (edges.size - 1))
    strong = np.partition(edges, rank)[rank]
    return float(strong / (grey[between].mean() + _DARK_LEVELS))


_DISC_POINTS = 256
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def state_from_landmarks(eye: Eye) -> EyeState:
    """Calculate the state of an eye from its outline and iris.

    The occlusion is always 0, because landmarks contain no information about it.

    Args:
        eye: the eye that the iris model found, in frame pixels.
    """
    return EyeState.from_array([eye.openness, _part_of_iris_inside(eye), 0.0])


def _part_of_iris_inside(eye: Eye) -> float:
    """Return the fraction of the iris disc that is inside the outline, in [0, 1]."""
    points = np.asarray(eye.iris_centre) + eye.iris_radius_px * _DISC
    return float(_are_inside(points, eye.outline.astype(np.float64)).mean())


def _are_inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each of the [N, 2] points whether the point is inside the [M, 2] polygon.

    The function uses the even-odd rule.
    """
    x, y = points[:, 0, None], points[:, 1, None]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    lies_beyond = x0 + (y - y0) * (x1 - x0) / rise > x
    return np.count_nonzero(crosses & lies_beyond, axis=1) % 2 == 1


def _disc_points() -> NDArray[np.float64]:
    """Return [256, 2] points that are evenly distributed over the unit disc."""
    number = np.arange(_DISC_POINTS)
    radius, angle = np.sqrt((number + 0.5) / _DISC_POINTS), number * _GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


_DISC = _disc_points()

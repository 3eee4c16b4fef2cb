"""Sharpness of an eye, and its state by landmarks where the estimator predicts none."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import EyeCrop
from mggr_edge.models.network_io import EyeState
from mggr_edge.vision.iris import Eye

_DARK_LEVELS = 10.0
"""Added to the brightness, which may be nearly nothing. A noisy camera in the dark still looks
clearer than it is."""

_SOBEL_PER_LEVEL = 8.0
_STRONG = 0.9
_FEWEST_PX = 10


def sharpness_of_eye(patch: NDArray[np.uint8], eye: Eye, crop: EyeCrop) -> float:
    """Returns the sharpness between the lids of an eye; 0 where they leave hardly a pixel.

    Args:
        patch: [S, S, 3] uint8 RGB, the network's input.
        eye: its outline, in frame pixels.
        crop: the patch's square.
    """
    size = patch.shape[0]
    to_patch = crop.eye_from_frame(size)
    outline = eye.outline.astype(np.float64) @ to_patch[:, :2].T + to_patch[:, 2]
    opening = np.zeros((size, size), np.uint8)
    cv2.fillPoly(opening, [np.rint(16 * outline).astype(np.int32)], 1, shift=4)
    return sharpness(patch, opening) if np.count_nonzero(opening) >= _FEWEST_PX else 0.0


def sharpness(patch: NDArray[np.uint8], opening: NDArray[np.uint8]) -> float:
    """How strong the edges between the lids are, against how bright it is there.

    An iris in white gives 0.2 to 0.4 in sharp frames of the trial clips, and at least 0.088
    on 1200 labelled patches, mirroring glasses among them. Plain skin colour drawn over the eye
    gives 0.02, as does a blur as wide as an eighth of the patch.

    Args:
        patch: [S, S, 3] uint8 RGB, what the network sees.
        opening: [S, S] uint8, 1 between the lids, of one pixel at least.

    Returns:
        90th percentile of the gradient in grey levels per pixel, over the mean level.
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

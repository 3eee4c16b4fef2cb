"""Whether an eye is to be seen: sharp enough, and nothing before it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.clarity import clarity
from mggr_edge.eyecrop import EyeCrop
from mggr_edge.iris import Eye
from mggr_edge.likeness import likeness


@dataclass(frozen=True)
class Visibility:
    """How well an eye is to be seen.

    Attributes:
        clarity: see `clarity.clarity`; 0 where lids leave hardly a pixel.
        likeness: see `likeness.likeness`.
    """

    clarity: float
    likeness: float


_FEWEST_PX = 10


def visibility(patch: NDArray[np.uint8], eye: Eye, crop: EyeCrop) -> Visibility:
    """Looks at an eye between its lids.

    Args:
        patch: [S, S, 3] uint8 RGB, what the network sees.
        eye: its outline and iris, in frame pixels.
        crop: the patch's square.
    """
    size = patch.shape[0]
    to_patch = crop.eye_from_frame(size)
    scale = float(np.hypot(to_patch[0, 0], to_patch[0, 1]))
    points = np.vstack([eye.outline, [eye.iris_centre]]).astype(np.float64)
    points = points @ to_patch[:, :2].T + to_patch[:, 2]
    opening = np.zeros((size, size), np.uint8)
    cv2.fillPoly(opening, [np.rint(16 * points[:-1]).astype(np.int32)], 1, shift=4)
    if np.count_nonzero(opening) < _FEWEST_PX:
        return Visibility(0.0, 0.0)
    return Visibility(
        clarity(patch, opening),
        likeness(patch, opening, iris_centre=points[-1], iris_radius_px=scale * eye.iris_radius_px),
    )

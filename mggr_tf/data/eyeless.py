"""Pictures that show no eye: blank ones, walls, hair, bare skin."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Standard deviation of grey levels below which a patch is blank.
_BLANK_CONTRAST = 5.0

# The iris, the lids and the white differ at a scale of about 1/32 of a patch's width, however soft
# the photograph is; pixel noise and smooth shading do not. The measure is the standard deviation,
# over the middle of the patch, of the Laplacian of a Gaussian of that scale. In the 7896 Columbia
# patches it is at most 3.5 on walls, hair and bare skin, and at least 5.3 on eyes (4.4 when those
# are blurred by one more pixel); a drawn eye behind a lens that mirrors the sky has 4.26. The limit
# is the geometric mean of 3.5 and 4.26.
_SCALE_OF_WIDTH = 1 / 32
_LEAST_STRUCTURE = 3.86
_MIDDLE_HEIGHT = (3 / 16, 13 / 16)
_MIDDLE_WIDTH = (1 / 8, 7 / 8)


def eyeless_reason(image: NDArray[np.uint8]) -> str | None:
    """Why a picture cannot show an eye; None when it may.

    Args:
        image: [H, W, 3] uint8 RGB, the eye in its middle, about the size of a patch.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if grey.std() < _BLANK_CONTRAST:
        return "blank"
    if _structure(grey) < _LEAST_STRUCTURE:
        return "shows no eye"
    return None


def _structure(grey: NDArray[np.float32]) -> float:
    """Standard deviation of the scaled Laplacian of a Gaussian in the middle, in grey levels."""
    height, width = grey.shape
    sigma_px = width * _SCALE_OF_WIDTH
    soft = cv2.GaussianBlur(grey, (0, 0), sigma_px)
    top, bottom = (round(height * part) for part in _MIDDLE_HEIGHT)
    left, right = (round(width * part) for part in _MIDDLE_WIDTH)
    middle = cv2.Laplacian(soft, cv2.CV_32F)[top:bottom, left:right]
    return float(sigma_px**2 * middle.std())

"""Pictures that show no eye: blank ones, walls, hair, bare skin."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Standard deviation of grey levels, and of their Laplacian, below which a patch
# shows no eye. In the patches in circulation the second is 5 or less on walls,
# hair and bare skin, 7 or more on the dimmest eye, with nothing in between.
_BLANK_CONTRAST = 5.0
_NO_EYE_DETAIL = 6.0


def eyeless_reason(image: NDArray[np.uint8]) -> str | None:
    """Why a picture cannot show an eye; None when it may.

    Args:
        image: [H, W, 3] uint8 RGB, about the size of a patch.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if grey.std() < _BLANK_CONTRAST:
        return "blank"
    if cv2.Laplacian(grey, cv2.CV_32F).std() < _NO_EYE_DETAIL:
        return "shows no eye"
    return None

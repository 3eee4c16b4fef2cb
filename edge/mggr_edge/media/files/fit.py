"""Frames of one size in a video whose pictures change theirs, as a turned phone's do."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", np.uint8, np.float32)


def fitted(rgb: NDArray[Value], size: tuple[int, int]) -> NDArray[Value]:
    """The whole frame, as large as it goes, in the middle of black.

    Args:
        rgb: [H, W, 3] uint8 or float32; black is 0.
        size: (height, width) of what comes out; a frame of that size is returned as it is.
    """
    height, width = rgb.shape[:2]
    if (height, width) == size:
        return rgb
    scale = min(size[0] / height, size[1] / width)
    inner_height, inner_width = max(1, round(scale * height)), max(1, round(scale * width))
    out = np.zeros((*size, 3), rgb.dtype)
    top, left = (size[0] - inner_height) // 2, (size[1] - inner_width) // 2
    out[top : top + inner_height, left : left + inner_width] = cv2.resize(
        rgb,
        (inner_width, inner_height),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    return out

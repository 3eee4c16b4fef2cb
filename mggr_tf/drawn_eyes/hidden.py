"""How much of a drawn eye its glasses and its nose hide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.flow import Sight, beyond_nose
from mggr_tf.drawn_eyes.lid_region import lid_region

_SUBPIXEL_BITS = 4


def hidden_share(
    outline: NDArray[np.floating],
    sight: Sight,
    *,
    size_px: int,
    nose: NDArray[np.float64],
    by_glasses: NDArray[np.float32] | None,
) -> float:
    """Part of the region between the lids (see `mggr_tf.drawn_eyes.lid_region`) that is hidden.

    Args:
        outline: [16, 2] pixels, see `lid_region.OUTLINE_POINTS`.
        sight: of the picture.
        size_px: its side.
        nose: [2, 2] as of `flow.Head`.
        by_glasses: [size, size] in [0, 1]; None without any.
    """
    region = np.zeros((size_px, size_px), np.uint8)
    corners = np.round(lid_region(outline) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(region, [corners], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    hidden = np.zeros((size_px, size_px), np.float32) if by_glasses is None else by_glasses
    _hide_behind_nose(region, sight, nose, hidden)
    return float(hidden[region > 0].mean()) if region.any() else 0.0


@compiled
def _hide_behind_nose(
    region: np.ndarray, sight: Sight, nose: np.ndarray, hidden: np.ndarray
) -> None:
    for row in range(region.shape[0]):
        for column in range(region.shape[1]):
            if region[row, column]:
                x = (column - sight.eye_x) / sight.px_per_mm
                y = (sight.eye_y - row) / sight.px_per_mm
                if beyond_nose(nose, x, y) > 0:
                    hidden[row, column] = 1.0

"""A small mark in a corner, for those who are looked at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.results import FrameResult

_TEXT = "gaze redirected"
_PART = 0.18
"""Of the frame's shorter side, as wide as the mark is."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def mark(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """The result with a mark at the bottom right, while any eye is redirected.

    Args:
        before: [H, W, 3] uint8, the frame as it came.
        result: what was made of it.
    """
    if not any(eye.strength > 0 for face in result.faces for eye in face.eyes):
        return result.frame
    shown = result.frame.copy()
    height, width = shown.shape[:2]
    (unit, _), below = cv2.getTextSize(_TEXT, _FONT, 1.0, 1)
    scale = _PART * max(min(height, width), 240) / unit
    margin = round(12 * scale) + 2
    place = (width - margin - round(unit * scale), height - margin - round(below * scale))
    for paint, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(shown, _TEXT, place, _FONT, scale, paint, thickness, cv2.LINE_AA)
    return shown

"""Text, marks and lines on pictures, with OpenCV alone."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK: Colour = (28, 32, 38)
QUIET: Colour = (120, 126, 134)
PAPER: Colour = (255, 255, 255)
RULE: Colour = (226, 229, 233)

GAP_PX = 6
"""Between pictures that stand side by side."""

_FONT = cv2.FONT_HERSHEY_DUPLEX
_DIAL_DEG = 20.0
"""Where the rim of a target dial stands."""


def blank(size: tuple[int, int], colour: Colour = PAPER) -> Picture:
    """A picture [height, width, 3] of one colour."""
    return np.full((*size, 3), colour, np.uint8)


def write(
    picture: Picture,
    text: str,
    at: tuple[float, float],
    *,
    height_px: float = 14.0,
    colour: Colour = INK,
    align: Literal["left", "right", "middle"] = "left",
) -> None:
    """Writes a line of plain ASCII text, in place.

    Args:
        at: (x, y) of the baseline's left end, right end or middle, as `align` says.
        height_px: of capital letters.
    """
    scale = cv2.getFontScaleFromHeight(_FONT, round(height_px), 1)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x = at[0] - {"left": 0.0, "middle": width / 2, "right": width}[align]
    cv2.putText(picture, text, (round(x), round(at[1])), _FONT, scale, colour, 1, cv2.LINE_AA)


def line(
    picture: Picture, points: NDArray[np.float64], *, colour: Colour, width_px: int = 2
) -> None:
    """Draws a line through [N, 2] points (x, y), in place."""
    shifted = np.rint(points * 16).astype(np.int32)[:, None]
    cv2.polylines(picture, [shifted], False, colour, width_px, cv2.LINE_AA, 4)


def dial(picture: Picture, gaze: Gaze, *, centre: tuple[float, float], radius_px: float) -> None:
    """A ring with a dot where `gaze` points, in place; the cross in its middle is the camera."""

    def spot(x: float, y: float) -> tuple[int, int]:
        return round(16 * (centre[0] + x)), round(16 * (centre[1] + y))

    cv2.circle(picture, spot(0, 0), round(16 * radius_px), PAPER, -1, cv2.LINE_AA, 4)
    cv2.circle(picture, spot(0, 0), round(16 * radius_px), QUIET, 1, cv2.LINE_AA, 4)
    arm = radius_px / 6
    cv2.line(picture, spot(-arm, 0), spot(arm, 0), QUIET, 1, cv2.LINE_AA, 4)
    cv2.line(picture, spot(0, -arm), spot(0, arm), QUIET, 1, cv2.LINE_AA, 4)
    per_deg = radius_px / _DIAL_DEG
    at = spot(gaze.yaw_deg * per_deg, -gaze.pitch_deg * per_deg)
    cv2.circle(picture, at, round(16 * radius_px / 5), (208, 64, 38), -1, cv2.LINE_AA, 4)

"""Glasses: a rim in a plane before the eye, and what their lens mirrors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.layers import lay_over
from mggr_tf.data.synthetic.layout import View
from mggr_tf.data.synthetic.subject import Glasses

_SUBPIXEL_BITS = 4
_CORNERS = np.linspace(0, 2 * np.pi, 72, endpoint=False)


def put_glasses_on(
    picture: NDArray[np.float32], glasses: Glasses, view: View, *, brightness: float
) -> None:
    """Draws them over the picture.

    Args:
        picture: [n, n, 3] linear RGB, changed in place.
        view: of the picture.
        brightness: of the light on the rim.
    """
    lens = _rim_mm(glasses, 1.0)
    outline = _fixed(view.project(lens))
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [outline], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    through = inside.astype(np.float32)[..., None] / np.float32(255)
    picture *= 1 - np.float32(glasses.tint) * through
    if glasses.glare > 0:
        picture += through * _glare(glasses, view, picture.shape[0])[..., None]
    if glasses.rim_mm > 0:
        rim = np.zeros(picture.shape[:2], np.uint8)
        thickness = max(1, round(glasses.rim_mm * view.px_per_mm))
        cv2.polylines(rim, [outline], True, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        lay_over(picture, rim, 1.0, *(brightness * c for c in glasses.colour))


def _rim_mm(glasses: Glasses, share: float) -> NDArray[np.float64]:
    """[72, 3] head points of a superellipse."""
    c, s = np.cos(_CORNERS), np.sin(_CORNERS)
    power = 2 / glasses.squareness
    x = glasses.nasal_mm + share * glasses.width_mm / 2 * np.sign(c) * np.abs(c) ** power
    y = -glasses.drop_mm + share * glasses.height_mm / 2 * np.sign(s) * np.abs(s) ** power
    return np.stack([x, y, np.full_like(x, glasses.stand_mm)], axis=1)


def _glare(glasses: Glasses, view: View, size_px: int) -> NDArray[np.float32]:
    """[n, n] a soft-edged slanted bright patch."""
    middle = np.array(
        [
            [
                glasses.nasal_mm + glasses.glare_x * glasses.width_mm / 2,
                -glasses.drop_mm + glasses.glare_y * glasses.height_mm / 2,
                glasses.stand_mm,
            ]
        ]
    )
    (x, y) = view.project(middle)[0].astype(np.float32)
    reach = np.float32(glasses.glare_size * glasses.width_mm / 2 * view.px_per_mm)
    steps = np.arange(size_px, dtype=np.float32)
    along = (steps[None, :] - x + np.float32(0.5) * (steps[:, None] - y)) / reach
    across = (steps[:, None] - y) / (np.float32(0.7) * reach)
    bump = np.clip(1.5 * (1 - np.maximum(np.abs(along), np.abs(across))), 0, 1)
    return np.float32(glasses.glare) * bump * bump * (3 - 2 * bump)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)

"""Glasses: a frame before the eye, what hangs on it, and what its lens mirrors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.layers import lay_glass_over, lay_over
from mggr_tf.drawn_eyes.layout import View
from mggr_tf.drawn_eyes.subject import Glasses
from mggr_tf.drawn_eyes.textures import reflections

_SUBPIXEL_BITS = 4
_CORNERS = np.linspace(0, 2 * np.pi, 73)
_UPPER = slice(0, 37)
"""The rim's points from the nose over the top to the temple."""

_TEMPLE_MM = 60.0
_PAD_MM = (1.6, 3.4)
_PAD_BEHIND_MM = 7.0
_HALF_HIDING_LIGHT = np.float32(0.12)
"""Mirrored light that is as bright as an eyeball in the shade, in linear light."""


def put_glasses_on(
    picture: NDArray[np.float32],
    glasses: Glasses,
    view: View,
    *,
    brightness: float,
    texture_seed: int,
) -> NDArray[np.float32]:
    """Draws them over the picture.

    Args:
        picture: [n, n, 3] linear RGB, changed in place.
        view: of the picture.
        brightness: of the light on the frame.
        texture_seed: of what the lens mirrors.

    Returns:
        [n, n] in [0, 1] how much of what lies behind they hide: 1 at the frame; in the lens more
        the brighter it mirrors, a half at `_HALF_HIDING_LIGHT`.
    """
    rim = view.project(_rim_mm(glasses))
    lens = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(lens, [_fixed(rim)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    mirrored = np.float32(glasses.veil) * reflections(texture_seed, picture.shape[0])
    if glasses.glare > 0:
        mirrored += _glare(glasses, view, picture.shape[0])
    lay_glass_over(picture, lens, glasses.tint, mirrored)
    frame = np.zeros(picture.shape[:2], np.uint8)
    for part, thickness_mm in ((_UPPER, glasses.rim_mm), (slice(36, 73), glasses.lower_rim_mm)):
        if thickness_mm > 0:
            _line(frame, rim[part], thickness_mm, view)
    _draw_temple(frame, glasses, view)
    if glasses.pad:
        _draw_pad(frame, glasses, view)
    lay_over(picture, frame, 1.0, *(brightness * c for c in glasses.colour))
    hidden = lens / np.float32(255) * (mirrored**2 / (mirrored**2 + _HALF_HIDING_LIGHT**2))
    return np.maximum(hidden, frame / np.float32(255))


def _rim_mm(glasses: Glasses) -> NDArray[np.float64]:
    """[73, 3] head points of a superellipse, closed, from the nose over the top."""
    c, s = np.cos(_CORNERS), np.sin(_CORNERS)
    power = 2 / glasses.squareness
    x = glasses.nasal_mm + glasses.width_mm / 2 * np.sign(c) * np.abs(c) ** power
    y = -glasses.drop_mm + glasses.height_mm / 2 * np.sign(s) * np.abs(s) ** power
    return np.stack([x, y, np.full_like(x, glasses.stand_mm)], axis=1)


def _draw_temple(frame: NDArray[np.uint8], glasses: Glasses, view: View) -> None:
    """The arm to the ear, where the head is turned so that it is seen."""
    back = view.rotation @ np.array([-0.12, 0.0, -1.0])
    if back[0] >= 0 or glasses.temple_mm <= 0:
        return
    hinge = np.array(
        [
            glasses.nasal_mm - glasses.width_mm / 2 - 1.0,
            -glasses.drop_mm + 0.3 * glasses.height_mm,
            glasses.stand_mm - 2.0,
        ]
    )
    ends = np.stack([hinge, hinge + _TEMPLE_MM * np.array([-0.12, 0.0, -1.0])])
    _line(frame, view.project(ends), glasses.temple_mm, view)


def _draw_pad(frame: NDArray[np.uint8], glasses: Glasses, view: View) -> None:
    """The pad that rests on the nose, and its arm."""
    at_rim = [
        glasses.nasal_mm + 0.47 * glasses.width_mm,
        -glasses.drop_mm - 0.05 * glasses.height_mm,
        glasses.stand_mm,
    ]
    pad = [at_rim[0] + 2.0, at_rim[1] - 2.5, at_rim[2] - _PAD_BEHIND_MM]
    ends = view.project(np.array([at_rim, pad]))
    _line(frame, ends, 0.7, view)
    scale = view.px_per_mm * 2**_SUBPIXEL_BITS
    half = (round(_PAD_MM[0] * scale), round(_PAD_MM[1] * scale))
    x, y = (int(v) for v in _fixed(ends[1:])[0])
    cv2.ellipse(frame, (x, y), half, -12.0, 0, 360, 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _line(
    frame: NDArray[np.uint8], points: NDArray[np.float64], thickness_mm: float, view: View
) -> None:
    thickness = max(1, round(thickness_mm * view.px_per_mm))
    cv2.polylines(frame, [_fixed(points)], False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


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

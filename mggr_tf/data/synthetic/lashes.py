"""Lashes: single strokes that hang on the lids' margins and go where those go."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.layout import View
from mggr_tf.data.synthetic.subject import Hair

_SUBPIXEL_BITS = 4
_STEPS = np.linspace(0, 1, 5)[None, :, None]


def lash_cover(
    hair: Hair,
    upper_mm: NDArray[np.float64],
    lower_mm: NDArray[np.float64],
    view: View,
    *,
    rise_mm: float,
    texture_seed: int,
) -> NDArray[np.uint8]:
    """[n, n] cover of the single lashes, 255 where one hides all.

    Args:
        upper_mm, lower_mm: [N, 3] margins from the outer to the inner corner.
        view: of the picture to paint.
        rise_mm: upper margin above its place of rest; lashes of a lowered lid hang.
    """
    rng = np.random.default_rng([texture_seed, 1])
    cover = np.zeros((view.size_px, view.size_px), np.uint8)
    upper = _strokes(
        rng,
        upper_mm,
        count=hair.lash_count,
        length_mm=hair.lash_length_mm,
        up=1.0,
        sink=float(np.clip(-rise_mm / 4, -0.3, 1.0)),
    )
    lower = _strokes(
        rng,
        lower_mm,
        count=hair.lash_count // 2,
        length_mm=0.45 * hair.lash_length_mm,
        up=-1.0,
        sink=0.0,
    )
    _draw(cover, upper, view, strength=hair.lash_strength)
    _draw(cover, lower, view, strength=hair.lower_lash_strength)
    return cover


def _strokes(
    rng: np.random.Generator,
    margin: NDArray[np.float64],
    *,
    count: int,
    length_mm: float,
    up: float,
    sink: float,
) -> NDArray[np.float64]:
    """[count, 5, 3] head points: lashes fan out, point forward, and curl up (or down)."""
    t = np.clip(np.linspace(0.04, 0.86, count) + rng.normal(0, 0.012, count), 0.01, 0.95)
    along = (margin[:, 0] - margin[0, 0]) / (margin[-1, 0] - margin[0, 0])
    roots = np.empty((count, 3))
    for axis in range(3):
        roots[:, axis] = np.interp(t, along, margin[:, axis])
    fan = 1.5 * (t - 0.55) + rng.normal(0, 0.12, count)
    length = length_mm * rng.uniform(0.6, 1.1, count) * (1.15 - 0.5 * t)
    lift = up * (0.75 - 0.9 * sink)
    start = np.stack([fan * 0.7, np.full(count, -0.1 * up - sink), np.ones(count)], axis=1)
    end = np.stack([fan, np.full(count, lift), np.full(count, 0.7)], axis=1)
    scale = length[:, None, None]
    return roots[:, None] + scale * (
        0.6 * _STEPS * (1 - _STEPS) * start[:, None] + _STEPS * end[:, None]
    )


def _draw(cover: NDArray[np.uint8], strokes: NDArray, view: View, *, strength: float) -> None:
    count, points, _ = strokes.shape
    pixels = view.project(strokes.reshape(-1, 3)).reshape(count, points, 2)
    fixed = np.round(pixels * 2**_SUBPIXEL_BITS).astype(np.int32)
    level = round(215 * strength)
    thickness = max(1, round(view.size_px / 128))
    cv2.polylines(cover, list(fixed), False, level, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

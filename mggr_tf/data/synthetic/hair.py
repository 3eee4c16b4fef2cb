"""Brow and lashes: how much of each pixel is hair."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.layout import Field, View
from mggr_tf.data.synthetic.lids import Margins, Opening
from mggr_tf.data.synthetic.lighting import smooth_step
from mggr_tf.data.synthetic.subject import Hair
from mggr_tf.data.synthetic.textures import Textures

_SUBPIXEL_BITS = 4
_STEPS = np.linspace(0, 1, 5)[None, :, None]


def brow_cover(hair: Hair, view: View, *, textures: Textures) -> Field:
    """[n, n] cover of the brow: streaks inside a band that thins out to the temple."""
    x, y = view.face_mm()
    along = np.clip((x + 26) / 48, 0, 1)
    arch = hair.brow_height_mm + hair.brow_arch_mm * np.sin(np.pi * (along * 0.9 + 0.12))
    thickness = hair.brow_thickness_mm * (0.35 + 0.65 * smooth_step(along, 0.0, 0.75))
    band = 1 - smooth_step(np.abs(y - arch) / thickness, 0.45, 1.25)
    band *= smooth_step(x, -26, -18) * (1 - smooth_step(x, 17, 24))
    streaks = np.clip(0.7 + 0.35 * textures.hairs, 0, 1)
    return np.float32(hair.brow_density) * band * streaks


def lash_line_cover(hair: Hair, opening: Opening) -> Field:
    """[n, n] cover of the dark rims where the lashes grow."""
    along = opening.along
    upper = hair.lash_strength * smooth_step(1 - along, 0.02, 0.25) * smooth_step(along, 0.0, 0.05)
    width = np.float32(0.55) + np.float32(0.55) * hair.lash_strength * (1 - along)
    line = upper * np.exp(-(((opening.above_mm - 0.15) / width) ** 2))
    lower = hair.lower_lash_strength * smooth_step(1 - along, 0.1, 0.6)
    lower = lower * smooth_step(along, 0.0, 0.05)
    return np.maximum(line, lower * np.exp(-(((opening.below_mm - 0.7) / 0.6) ** 2)))


def lash_cover(
    hair: Hair, margins: Margins, view: View, *, rise_mm: float, texture_seed: int
) -> Field:
    """[n, n] cover of the single lashes."""
    rng = np.random.default_rng([texture_seed, 1])
    cover = np.zeros((view.size_px, view.size_px), np.uint8)
    upper = _strokes(
        rng,
        margins.upper,
        count=hair.lash_count,
        length_mm=hair.lash_length_mm,
        up=1.0,
        sink=np.clip(-rise_mm / 4, -0.3, 1.0),
    )
    lower = _strokes(
        rng,
        margins.lower,
        count=hair.lash_count // 2,
        length_mm=0.45 * hair.lash_length_mm,
        up=-1.0,
        sink=0.0,
    )
    _draw(cover, upper, view, strength=hair.lash_strength)
    _draw(cover, lower, view, strength=hair.lower_lash_strength)
    return cover.astype(np.float32) / np.float32(255)


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
    roots = np.stack(
        [np.interp(t, np.linspace(0, 1, len(margin)), margin[:, i]) for i in range(3)], axis=1
    )
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
    cv2.polylines(cover, list(fixed), False, level, 1, cv2.LINE_AA, _SUBPIXEL_BITS)

"""Lashes: single strokes that hang on the lids' margins and go where those go."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

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
    above, below = _growth(texture_seed, hair.lash_count)
    cover = np.zeros((view.size_px, view.size_px), np.uint8)
    upper = _strokes(
        above,
        upper_mm,
        length_mm=hair.lash_length_mm,
        up=1.0,
        sink=float(np.clip(-rise_mm / 4, -0.3, 1.0)),
    )
    lower = _strokes(
        below,
        lower_mm,
        length_mm=0.45 * hair.lash_length_mm,
        up=-1.0,
        sink=0.0,
    )
    _draw(cover, upper, view, strength=hair.lash_strength)
    _draw(cover, lower, view, strength=hair.lower_lash_strength)
    return cover


class _Growth(NamedTuple):
    """How one row of lashes grows: [count] each."""

    place: NDArray[np.float64]
    fan: NDArray[np.float64]
    length: NDArray[np.float64]


@lru_cache(maxsize=4)
def _growth(texture_seed: int, count: int) -> tuple[_Growth, _Growth]:
    """A person's upper and lower row, the same in every picture."""
    rng = np.random.default_rng([texture_seed, 1])
    rows = []
    for number in (count, count // 2):
        place = np.linspace(0.04, 0.86, number) + rng.normal(0, 0.012, number)
        place = np.clip(place, 0.01, 0.95)
        fan = 1.5 * (place - 0.55) + rng.normal(0, 0.12, number)
        length = rng.uniform(0.6, 1.1, number) * (1.15 - 0.5 * place)
        rows.append(_Growth(place, fan, length))
    return rows[0], rows[1]


def _strokes(
    growth: _Growth,
    margin: NDArray[np.float64],
    *,
    length_mm: float,
    up: float,
    sink: float,
) -> NDArray[np.float64]:
    """[count, 5, 3] head points: lashes fan out, point forward, and curl up (or down)."""
    count, fan = len(growth.place), growth.fan
    along = (margin[:, 0] - margin[0, 0]) / (margin[-1, 0] - margin[0, 0])
    roots = np.empty((count, 3))
    for axis in range(3):
        roots[:, axis] = np.interp(growth.place, along, margin[:, axis])
    lift = up * (0.75 - 0.9 * sink)
    start = np.stack([fan * 0.7, np.full(count, -0.1 * up - sink), np.ones(count)], axis=1)
    end = np.stack([fan, np.full(count, lift), np.full(count, 0.7)], axis=1)
    scale = length_mm * growth.length[:, None, None]
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

"""Lashes: single strokes that hang on the lids' margins and go where those go."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.layout import View
from mggr_tf.drawn_eyes.subject import Hair

_SUBPIXEL_BITS = 4
_POINTS = 5
"""Of one stroke."""


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
    sink = float(np.clip(-rise_mm / 4, -0.3, 1.0))
    length_mm = hair.lash_length_mm
    rows = (
        (_strokes(above, upper_mm, view, length_mm, 1.0, sink), hair.lash_strength),
        (_strokes(below, lower_mm, view, 0.45 * length_mm, -1.0, 0.0), hair.lower_lash_strength),
    )
    thickness = max(1, round(view.size_px / 128))
    for strokes, strength in rows:
        level = round(215 * strength)
        cv2.polylines(cover, list(strokes), False, level, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
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
    view: View,
    length_mm: float,
    up: float,
    sink: float,
) -> NDArray[np.int32]:
    """[count, 5, 2] picture points (x, y), in fractions of a pixel as OpenCV counts them.

    Args:
        up: 1 for the upper row, -1 for the lower one.
        sink: by how much they hang.
    """
    strokes = np.empty((len(growth.place), _POINTS, 2), np.int32)
    _lay_strokes(
        growth,
        margin,
        length_mm,
        up,
        sink,
        view.rotation,
        view.px_per_mm,
        *view.eyeball_px,
        strokes,
    )
    return strokes


@compiled
def _lay_strokes(
    growth: _Growth,
    margin: np.ndarray,
    length_mm: float,
    up: float,
    sink: float,
    rotation: np.ndarray,
    px_per_mm: float,
    eye_x: float,
    eye_y: float,
    strokes: np.ndarray,
) -> None:
    """Lashes fan out, point forward, and curl up (or down)."""
    lift = up * (0.75 - 0.9 * sink)
    first, last = margin[0, 0], margin[margin.shape[0] - 1, 0]
    segment = 0
    order = 1 << _SUBPIXEL_BITS
    for k in range(strokes.shape[0]):
        at = first + growth.place[k] * (last - first)
        while segment > 0 and margin[segment, 0] > at:
            segment -= 1
        while segment < margin.shape[0] - 2 and margin[segment + 1, 0] < at:
            segment += 1
        here, there = margin[segment], margin[segment + 1]
        share = (at - here[0]) / (there[0] - here[0])
        scale, fan = length_mm * growth.length[k], growth.fan[k]
        for point in range(strokes.shape[1]):
            t = point / (strokes.shape[1] - 1)
            bulge = 0.6 * t * (1 - t)
            x = at + scale * (bulge * 0.7 * fan + t * fan)
            y = here[1] + share * (there[1] - here[1])
            y += scale * (bulge * (-0.1 * up - sink) + t * lift)
            z = here[2] + share * (there[2] - here[2]) + scale * (bulge + 0.7 * t)
            seen_x = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            seen_y = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
            strokes[k, point, 0] = int(np.floor((eye_x + px_per_mm * seen_x) * order + 0.5))
            strokes[k, point, 1] = int(np.floor((eye_y - px_per_mm * seen_y) * order + 0.5))

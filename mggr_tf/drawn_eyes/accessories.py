"""Paint lashes and glasses.

Head coordinates are defined in `face_geometry`. The margin of a lid is its edge at the eye opening.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import View
from mggr_tf.drawn_eyes.look import lay_glass_over, lay_over
from mggr_tf.drawn_eyes.subject import Glasses, Hair
from mggr_tf.drawn_eyes.textures import reflections

_SUBPIXEL_BITS = 4
_POINTS = 5
"""Number of points of the line that represents one lash."""


def lash_cover(
    hair: Hair,
    upper_mm: NDArray[np.float64],
    lower_mm: NDArray[np.float64],
    view: View,
    *,
    rise_mm: float,
    texture_seed: int,
) -> NDArray[np.uint8]:
    """Return how much the lashes cover each pixel, [n, n] uint8; 255 means full coverage.

    Args:
        hair: lash parameters of the person.
        upper_mm: [N, 3] points of the upper lid's margin, from the outer to the inner corner, in
            head coordinates, mm.
        lower_mm: [N, 3] points of the lower lid's margin, in the order and unit of `upper_mm`.
        view: view of the image to paint.
        rise_mm: height of the upper margin above its rest position, mm. If the lid is lowered, the
            value is negative, and the lashes point down.
        texture_seed: seed of the person's lashes.
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
    """Random parameters of the lashes of one lid. Each array has the shape [count].

    Attributes:
        place: position of the lash root along the margin: 0 at the outer corner, 1 at the inner
            corner.
        fan: horizontal displacement of the lash tip, as a fraction of the lash length.
        length: length of the lash, relative to the person's lash length.
    """

    place: NDArray[np.float64]
    fan: NDArray[np.float64]
    length: NDArray[np.float64]


@lru_cache(maxsize=4)
def _growth(texture_seed: int, count: int) -> tuple[_Growth, _Growth]:
    """Return the parameters of a person's upper and lower lashes, the same for all images."""
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
    """Return the points (x, y) of the lashes, [count, 5, 2], in OpenCV's fixed-point pixels.

    Args:
        growth: parameters of the lashes.
        margin: [N, 3] points of the lid's margin, in head coordinates, mm.
        view: view of the image to paint.
        length_mm: length of the person's lashes, mm.
        up: 1 for the lashes of the upper lid, -1 for the lashes of the lower lid.
        sink: downward tilt of the lashes, in [-0.3, 1].
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
    """Write the points of the lashes into `strokes`.

    The lashes fan out, point forward, and curl up or down.
    """
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


_CORNERS = np.linspace(0, 2 * np.pi, 73)
_UPPER = slice(0, 37)
"""Indices of the points on the upper half of a rim. The first point is at the nose."""

_TEMPLE_MM = 60.0
_PAD_MM = (1.6, 3.4)
_PAD_BEHIND_MM = 7.0
_HALF_HIDING_LIGHT = np.float32(0.12)
"""Linear brightness of a reflection in the lens that causes an occlusion of 0.5.

An eyeball in shadow has about this brightness.
"""


def put_glasses_on(
    picture: NDArray[np.float32],
    glasses: Glasses,
    view: View,
    *,
    brightness: float,
    texture_seed: int,
) -> NDArray[np.float32]:
    """Paint glasses over an image.

    Args:
        picture: [n, n, 3] image in linear RGB. The function changes this array.
        glasses: parameters of the glasses.
        view: view of the image.
        brightness: brightness of the light on the frame of the glasses.
        texture_seed: seed of the reflections in the lens.

    Returns:
        [n, n] occlusion by the glasses, in [0, 1]. The frame has an occlusion of 1. Inside the
        lens, a brighter reflection has a larger occlusion. For the brightness `_HALF_HIDING_LIGHT`,
        the occlusion is 0.5.
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
    """Return the rim of the lens as a closed superellipse.

    Returns:
        [73, 3] points in head coordinates, mm. The points run from the nose over the top to the
        temple, and back below the eye.
    """
    c, s = np.cos(_CORNERS), np.sin(_CORNERS)
    power = 2 / glasses.squareness
    x = glasses.nasal_mm + glasses.width_mm / 2 * np.sign(c) * np.abs(c) ** power
    y = -glasses.drop_mm + glasses.height_mm / 2 * np.sign(s) * np.abs(s) ** power
    return np.stack([x, y, np.full_like(x, glasses.stand_mm)], axis=1)


def _draw_temple(frame: NDArray[np.uint8], glasses: Glasses, view: View) -> None:
    """Paint the arm of the glasses to the ear, if the camera can see this arm."""
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
    """Paint the nose pad of the glasses, and the thin wire that connects it to the rim."""
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
    """Return the brightness of the main reflection in the lens, [n, n].

    The reflection is a slanted area with soft edges.
    """
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

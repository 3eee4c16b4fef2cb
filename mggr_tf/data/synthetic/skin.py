"""The skin round the eye: a relief of brow, socket, folds and nose, lit and coloured.

Colour follows optical density: melanin and blood each absorb a share of red,
green and blue, so one number each moves along the range of human skin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.layout import Field, View
from mggr_tf.data.synthetic.lids import Opening
from mggr_tf.data.synthetic.lighting import (
    cast_shadow,
    light_direction,
    shade_relief,
    smooth_step,
)
from mggr_tf.data.synthetic.subject import Skin, Subject
from mggr_tf.data.synthetic.textures import Textures

_MELANIN_ABSORBS = np.array([0.95, 1.22, 1.48], np.float32)
_BLOOD_ABSORBS = np.array([0.18, 0.95, 0.85], np.float32)
_BASE = np.array([0.85, 0.69, 0.52], np.float32)
"""Linear RGB under the pigments."""

_NOSE_SIDE = np.array([-0.72, 0.2, 0.66])
"""Outward normal of the nose's side, in head axes."""

_MIDLINE_MM = 31.0
"""The face's middle from the eyeball's centre; half the distance between the pupils."""


def skin_colour(skin: Skin) -> NDArray[np.float32]:
    """[3] linear reflectance of the plain skin."""
    return _BASE * np.exp(-skin.melanin * _MELANIN_ABSORBS - skin.blood * _BLOOD_ABSORBS)


def paint_skin(
    subject: Subject, view: View, opening: Opening, *, textures: Textures
) -> NDArray[np.float32]:
    """Paints the skin everywhere, as if there were no opening: [3, n, n] linear RGB."""
    skin = subject.skin
    x, y = view.face_mm()
    relief = _face_relief(skin, x, y) + _lid_relief(subject, opening, x, y)
    relief += np.float32(1.2 * skin.pores) * textures.pores
    shade = shade_relief(relief, view, subject.light)
    shade *= cast_shadow(subject.light, view.size_px)

    away = np.maximum(np.maximum(opening.above_mm, opening.below_mm) + 0.3 * opening.beyond_mm, 0)
    near = np.exp(away / np.float32(-5.0))
    shade *= _socket_shade(skin, x, y) * (1 - np.float32(0.4) * np.exp(away / np.float32(-1.6)))
    ring = np.float32(skin.dark_ring) * near
    melanin = skin.melanin * (1 + 0.30 * ring + skin.mottle * textures.mottle) + 0.45 * ring
    blood = skin.blood * (1 + 0.9 * near + 2 * skin.mottle * textures.flush)
    gloss = np.float32(skin.shine) * smooth_step(shade, 0.65, 1.0)
    picture = np.empty((3, *shade.shape), np.float32)
    for plane, base, by_melanin, by_blood in zip(
        picture, _BASE, _MELANIN_ABSORBS, _BLOOD_ABSORBS, strict=True
    ):
        np.exp(-(melanin * by_melanin + blood * by_blood), out=plane)
        plane *= base * shade
        plane += gloss
    return picture


def _face_relief(skin: Skin, x: Field, y: Field) -> Field:
    """Height in mm over the face's plane: what does not move with the gaze."""
    brow = skin.socket_mm * smooth_step(y - 0.12 * x, 3, 17)
    nose = skin.nose_mm * smooth_step(x + 0.25 * y, 9, 25)
    cheek = 4.5 * smooth_step(-y - 0.15 * x, 5, 24)
    globe = 3.0 * np.exp(-(x**2 + (y + 1) ** 2) / np.float32(2 * 7.5**2))
    temple = -3.0 * smooth_step(-x, 14, 30)
    return brow + nose + cheek + globe + temple


def _socket_shade(skin: Skin, x: Field, y: Field) -> Field:
    """The sky that brow and nose hide from the socket, and that the cheek sees."""
    depth = np.float32(0.055 * skin.socket_mm)
    socket = np.exp(-((y - 5 - 0.15 * x) ** 2) / np.float32(2 * 8.0**2))
    to_nose = 0.65 + 0.35 * smooth_step(x, -16, 16)
    return (1 - depth * socket * to_nose) * (1 + 0.35 * smooth_step(-y, 3, 20))


def _lid_relief(subject: Subject, opening: Opening, x: Field, y: Field) -> Field:
    """Height in mm of the folds that follow the lids."""
    lids, skin = subject.lids, subject.skin
    inside = np.sin(np.pi * np.clip(opening.along, 0.02, 0.98)) ** 0.5
    fade = ((0.2 + 0.8 * inside) * np.exp(-opening.beyond_mm / 3))[None]
    # The fold stays nearly in place while the margin sinks away from under it.
    gap = lids.crease_mm - 0.75 * min(opening.rise_mm, lids.crease_mm)
    past = opening.above_mm - (gap * (0.35 + 0.65 * inside))[None]
    groove = -0.8 * lids.crease_depth * np.exp(-((past / np.float32(0.55)) ** 2))
    roll = 0.9 * lids.crease_depth * smooth_step(past, -0.2, 0.9)
    bag = skin.bag_mm * np.exp(-(((opening.below_mm - 4.5) / np.float32(2.4)) ** 2))
    trough = -0.5 * np.exp(-(((opening.below_mm - 8.0 - 0.1 * x) / np.float32(1.2)) ** 2))
    return fade * (groove + roll + bag + 0.6 * trough)


def nose_cover(subject: Subject, view: View) -> Field:
    """[n, n] share of each pixel that the nose's side hides when the face turns far away.

    The nose's ridge is a line from the root, between the eyes, to the tip; it
    stands before the face and so slides over the eye as the head turns.
    """
    stands = 12.0 + subject.skin.nose_mm
    ridge = np.array([[_MIDLINE_MM, 12.0, stands], [_MIDLINE_MM, -34.0, stands + 22.0]])
    (x0, y0), (x1, y1) = view.project(ridge)
    steps = np.arange(view.size_px, dtype=np.float32)
    edge = x0 + (x1 - x0) * (steps - y0) / (y1 - y0)
    return smooth_step(steps[None, :] - edge[:, None].astype(np.float32), -2.0, 5.0)


def paint_nose(subject: Subject, view: View) -> NDArray[np.float32]:
    """[3, n, n] linear RGB of the nose's side, plain and lit by its own slope."""
    light = subject.light
    faces = view.rotation @ _NOSE_SIDE @ light_direction(light)
    shade = light.ambient + (1 - light.ambient) * max(0.35 + 0.75 * faces, 0.0)
    colour = skin_colour(subject.skin) * np.float32(shade)
    fall = np.linspace(0.9, 1.1, view.size_px, dtype=np.float32)[:, None]
    return np.broadcast_to(colour[:, None, None] * fall, (3, view.size_px, view.size_px))

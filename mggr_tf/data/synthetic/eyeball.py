"""The globe: sclera, iris, pupil, the wet shine on it, and the lids' shadow.

The iris is a flat disc at `cos(30 deg)` of the eyeball's radius from its
centre, as in the gazemap, turned by the gaze. A pixel at (x, y) of the
camera's plane meets that disc's plane, whose normal n is the gaze's unit
vector, at depth z with `n . (x, y, z) = d`; its distance from the disc's
centre is then `sqrt(x^2 + y^2 + z^2 - d^2)`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze, unit_vectors
from mggr_tf.data.synthetic.layout import Field, View
from mggr_tf.data.synthetic.lids import Opening
from mggr_tf.data.synthetic.lighting import light_direction, smooth_step
from mggr_tf.data.synthetic.skin import skin_colour
from mggr_tf.data.synthetic.subject import Eyeball, Light, Subject
from mggr_tf.data.synthetic.textures import Textures

IRIS_PLANE = float(np.cos(np.radians(30.0)))
"""Distance of the iris's plane from the eyeball's centre, in eyeball radii."""

_CORNEA_CENTRE, _CORNEA_RADIUS = 0.47, 0.65
"""Centre (along the gaze) and radius of the cornea, in eyeball radii."""

_PUPIL_COLOUR = np.array([0.006, 0.005, 0.005], np.float32)
_FLESH = np.array([0.42, 0.17, 0.14], np.float32)
_LID_SHADOW_MM = 2.2


def iris_centre_px(eyeball: Eyeball, view: View, *, gaze: Gaze) -> NDArray[np.float64]:
    """[2] fine pixels (x, y) of the iris's centre."""
    toward = unit_vectors(gaze.array())
    shift = view.px_per_mm * eyeball.radius_mm * IRIS_PLANE * toward[:2] * [1, -1]
    return np.asarray(view.eyeball_px) + shift


def paint_eyeball(
    subject: Subject, view: View, opening: Opening, *, gaze: Gaze, textures: Textures
) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """Paints what lies between the lids.

    Returns:
        The painted window (rows, columns) of the fine picture, and its
        [3, h, w] float32 linear RGB.
    """
    window = _window(opening)
    x, y = view.camera_mm()
    x, y = x[:, window[1]], y[window[0]]
    picture = _sclera(subject, opening, x, y, veins=textures.veins[window], window=window)
    iris, cover = _iris(subject, x, y, gaze=gaze, fibres=textures.fibres)
    picture += cover * (iris - picture)
    picture *= _lid_shadow(opening.above_mm[window], opening.below_mm[window])
    flesh = _flesh(opening, window)
    tone = np.float32(_flesh_brightness(subject)) * _FLESH[:, None, None]
    picture += flesh * (tone - picture)
    picture += _tear_line(subject.eyeball, opening.below_mm[window])
    # Off the cornea the sclera's rough wetness mirrors a lamp faintly.
    picture += _glints(subject, x, y, gaze=gaze) * (0.2 + 0.8 * cover)
    return window, picture


def _window(opening: Opening) -> tuple[slice, slice]:
    rows = np.flatnonzero(opening.cover.any(axis=1))
    columns = np.flatnonzero(opening.cover.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _sclera(
    subject: Subject,
    opening: Opening,
    x: Field,
    y: Field,
    *,
    veins: Field,
    window: tuple[slice, slice],
) -> NDArray[np.float32]:
    eyeball, light = subject.eyeball, subject.light
    x, y = x / eyeball.radius_mm, y / eyeball.radius_mm
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0.05))
    lx, ly, lz = light_direction(light)
    # Light wraps round: the eye is wet and stands in a socket that glows.
    lambert = np.maximum((lx * x + ly * y + lz * z + 0.35) / 1.35, 0)
    shade = (light.ambient + (1 - light.ambient) * lambert) * (0.3 + 0.7 * z)
    along = opening.along[window[1]]
    to_corner = np.abs(2 * along - 1) ** 3
    shade = shade * (1 - 0.6 * np.abs(2 * along - 1) ** 2.5)
    red = eyeball.redness * (0.25 + 0.75 * to_corner) * np.clip(0.55 + 0.4 * veins, 0, 1.5)
    tint = np.stack([0.10 * red, 0.42 * red, 0.40 * red])
    white = (np.asarray(eyeball.sclera, np.float32) * _glow_of_skin(subject))[:, None, None]
    return white * (shade * np.maximum(1 - tint, 0))


def _iris(
    subject: Subject, x: Field, y: Field, *, gaze: Gaze, fibres: Field
) -> tuple[NDArray[np.float32], Field]:
    """The iris with its pupil [3, h, w], and its cover [h, w]."""
    eyeball = subject.eyeball
    n = unit_vectors(gaze.array()).astype(np.float32)
    d = np.float32(eyeball.radius_mm * IRIS_PLANE)
    z = (d - n[0] * x - n[1] * y) / n[2]
    rho = np.sqrt(np.maximum(x**2 + y**2 + z**2 - d**2, 0)) / np.float32(eyeball.iris_mm)
    right, up = x - n[0] * d, y - n[1] * d
    fibre = _read_polar(fibres, rho, np.arctan2(up, right))
    pupil = eyeball.pupil_mm / eyeball.iris_mm
    collarette = np.exp(-(((rho - pupil - 0.16) / 0.13) ** 2))
    brightness = 1 + eyeball.fibres * fibre + 0.35 * collarette
    brightness *= 1 - eyeball.limbus * smooth_step(rho, 0.72, 1.0)
    # The cornea gathers light on the side away from the lamp.
    lx, ly, _ = light_direction(subject.light)
    brightness *= 1 - 0.35 * (lx * right + ly * up) / eyeball.iris_mm
    colour = np.asarray(eyeball.iris, np.float32)[:, None, None] * np.maximum(brightness, 0.15)
    hole = 1 - smooth_step(rho, pupil - 0.07, pupil + 0.07)
    colour += hole * (_PUPIL_COLOUR[:, None, None] - colour)
    return colour, 1 - smooth_step(rho, 0.93, 1.06)


def _read_polar(fibres: Field, rho: Field, angle: Field) -> Field:
    radii, angles = fibres.shape
    columns = (angle * np.float32(angles / (2 * np.pi))) % angles
    rows = np.minimum(rho, 1) * np.float32(radii - 1)
    return cv2.remap(fibres, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _lid_shadow(above_mm: Field, below_mm: Field) -> Field:
    upper = 0.8 * np.exp(above_mm / np.float32(0.8 * _LID_SHADOW_MM))
    lower = 0.30 * np.exp(below_mm / np.float32(0.35 * _LID_SHADOW_MM))
    return np.clip(1 - upper - lower, 0.10, 1)


def _flesh(opening: Opening, window: tuple[slice, slice]) -> Field:
    """Cover of the caruncle at the nose and of the pink rim of the lower lid."""
    along = opening.along[window[1]]
    caruncle = 0.85 * smooth_step(along, 0.83, 0.93)
    outer = 0.45 * (1 - smooth_step(along, 0.02, 0.12))
    rim = 0.45 * np.exp(-((opening.below_mm[window] / np.float32(0.55)) ** 2))
    return np.maximum(np.maximum(caruncle, outer), rim)


def _glow_of_skin(subject: Subject) -> NDArray[np.float32]:
    """[3] what the socket does to the light: half of it comes off the skin, and takes its tone."""
    skin = skin_colour(subject.skin)
    tone = np.float32(0.45) + np.float32(0.55) * (skin / skin[0]) ** np.float32(0.7)
    return tone * np.float32(0.75) * (1 + skin[0])


def _flesh_brightness(subject: Subject) -> float:
    # Wet flesh differs little between people; it lies in the lids' shade.
    return 0.55 - 0.19 * min(subject.skin.melanin, 2.2)


def _tear_line(eyeball: Eyeball, below_mm: Field) -> Field:
    line = np.exp(-(((below_mm + np.float32(0.7)) / np.float32(0.28)) ** 2))
    return np.float32(0.05 * eyeball.wetness) * line


def _glints(subject: Subject, x: Field, y: Field, *, gaze: Gaze) -> Field:
    """The lamps' mirror images on the cornea."""
    light = subject.light
    shine = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for index in range(light.glints):
        centre = _glint_mm(subject.eyeball, light, gaze=gaze, index=index)
        away = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / np.float32(light.glint_mm**2)
        shine += np.float32(light.glint_strength / (1 + index) ** 1.5) * np.exp(-(away**2))
    return shine


def _glint_mm(eyeball: Eyeball, light: Light, *, gaze: Gaze, index: int) -> NDArray[np.float32]:
    """Where a lamp mirrors: the cornea's normal halves the way from lamp to camera."""
    lamp = light_direction(light, turn_deg=-55.0 * index)
    half = lamp + [0, 0, 1]
    half = half / np.linalg.norm(half)
    centre = _CORNEA_CENTRE * unit_vectors(gaze.array())
    glint = eyeball.radius_mm * (centre + _CORNEA_RADIUS * half)[:2]
    return glint.astype(np.float32)

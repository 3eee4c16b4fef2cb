"""Geometry of the eyeball, and the camera model.

The eyeball is a sphere, and the cornea is a smaller sphere in front of it. Because of refraction
at the cornea, the iris and the pupil appear as a disc about 3 mm behind the cornea's apex (the
entrance pupil). The gazemap places them at the same position, `IRIS_PLANE` eyeball radii in front
of the centre. The rim of the disc lies on the sphere.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import OVERSAMPLING
from mggr_tf.drawn_eyes.subject import Eyeball, Subject
from mggr_tf.drawn_eyes.textures import skin_colour

IRIS_PLANE = float(np.cos(np.radians(30.0)))
"""Distance of the iris plane from the eyeball's centre, in eyeball radii."""

CORNEA_CENTRE, CORNEA_RADIUS = 0.47, 0.65
"""Centre (along the gaze) and radius of the cornea, in eyeball radii."""

_RIM = 0.97
"""Square of the fraction of the radius beyond which a point counts as flesh around the eyeball."""


class Globe(NamedTuple):
    """Pose of an eyeball for one gaze.

    Attributes:
        turn: [3, 3] float64 rotation from eye axes (z is the gaze) to camera axes.
        radius_mm: radius of the eyeball.
        iris_mm: radius of the iris.
        centre_x: x offset of the eyeball's centre from its position at a gaze straight ahead,
            camera axes, mm.
        centre_y: y offset of the eyeball's centre, as `centre_x`.
    """

    turn: NDArray[np.float64]
    radius_mm: float
    iris_mm: float
    centre_x: float
    centre_y: float


def look(eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64]) -> Globe:
    """Return the pose of an eyeball for a gaze.

    By Listing's law, the pose is a single rotation that maps the straight-ahead direction of the
    head to the gaze.

    Args:
        eyeball: sizes of the eyeball.
        gaze: gaze relative to the camera.
        head: [3, 3] rotation from head to camera axes.
    """
    x, y, z = head.T @ unit_vectors(gaze.array())
    bend = 1 / (1 + z)
    from_ahead = np.array(
        [
            [1 - bend * x * x, -bend * x * y, x],
            [-bend * x * y, 1 - bend * y * y, y],
            [-x, -y, z],
        ]
    )
    # The axis of vertical rotation lies in front of the centre, so the centre moves down in upgaze.
    centre_x, centre_y = -eyeball.pivot_mm * y * head[:2, 1]
    return Globe(
        head @ from_ahead, eyeball.radius_mm, eyeball.iris_mm, float(centre_x), float(centre_y)
    )


def iris_way(globe: Globe, *, head: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the displacement [2] of the iris from its position at a gaze straight ahead.

    The displacement is camera (x, y) in mm, y up. "Straight ahead" is relative to the head.

    Args:
        globe: pose of the eyeball.
        head: [3, 3] rotation from head to camera axes.
    """
    turned = globe.radius_mm * IRIS_PLANE * (globe.turn[:2, 2] - head[:2, 2])
    return turned + [globe.centre_x, globe.centre_y]


@compiled
def on_iris(globe: Globe, x: float, y: float) -> tuple[float, float, bool]:
    """Intersect the line of sight through camera (x, y), mm, with the iris plane.

    Returns:
        (u, v, inside): the intersection in eye axes, mm, and whether it lies on the iris.
    """
    t = globe.turn
    x, y = x - globe.centre_x, y - globe.centre_y
    d = globe.radius_mm * IRIS_PLANE
    z = (d - t[0, 2] * x - t[1, 2] * y) / t[2, 2]
    u = t[0, 0] * x + t[1, 0] * y + t[2, 0] * z
    v = t[0, 1] * x + t[1, 1] * y + t[2, 1] * z
    return u, v, u * u + v * v < globe.iris_mm * globe.iris_mm


@compiled
def intersects_sphere(globe: Globe, x: float, y: float) -> bool:
    """Return whether the line of sight through camera (x, y), mm, meets the eyeball.

    The outermost rim of the sphere does not count (see `_RIM`).
    """
    x, y = x - globe.centre_x, y - globe.centre_y
    return x * x + y * y < _RIM * globe.radius_mm * globe.radius_mm


@compiled
def on_sclera(globe: Globe, x: float, y: float) -> tuple[float, float, float]:
    """Return the point of the sphere visible at camera (x, y), mm, in eye axes.

    The result is valid only where `intersects_sphere` returns True.
    """
    t = globe.turn
    x, y = x - globe.centre_x, y - globe.centre_y
    z = np.sqrt(globe.radius_mm * globe.radius_mm - x * x - y * y)
    return (
        t[0, 0] * x + t[1, 0] * y + t[2, 0] * z,
        t[0, 1] * x + t[1, 1] * y + t[2, 1] * z,
        t[0, 2] * x + t[1, 2] * y + t[2, 2] * z,
    )


@compiled
def camera_position(globe: Globe, u: float, v: float, w: float) -> tuple[float, float, float]:
    """Return camera (x, y, depth), mm, of a point in eye axes."""
    t = globe.turn
    return (
        globe.centre_x + t[0, 0] * u + t[0, 1] * v + t[0, 2] * w,
        globe.centre_y + t[1, 0] * u + t[1, 1] * v + t[1, 2] * w,
        t[2, 0] * u + t[2, 1] * v + t[2, 2] * w,
    )


_LUMA = np.array([0.2126, 0.7152, 0.0722])
_MIDDLE_GREY = 0.46
_CURVE_POINTS, _BRIGHTEST = 2048, 8.0
_GRAIN = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
"""256 equally likely standard normal deviates; a random byte is the index of one of them."""

_LARGE_PX = 300
"""Minimum height of an image that is a camera frame, where `blur_px` is in pixels of the frame."""


def develop(
    linear: NDArray[np.float32], subject: Subject, *, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Convert linear light to an 8-bit image with the camera model of the subject.

    Args:
        linear: [H, W, 3] linear RGB at `OVERSAMPLING` times the size of the image.
        subject: person whose camera and skin determine exposure, tone, blur and noise.
        rng: random generator for the noise of this image.

    Returns:
        [H / OVERSAMPLING, W / OVERSAMPLING, 3] uint8 RGB.
    """
    camera = subject.camera
    height, width = (side // OVERSAMPLING for side in linear.shape[:2])
    gains = (_exposure(subject) * np.asarray(camera.white_balance)).astype(np.float32)
    sharp = tuple(max(1, round(camera.resolution * side)) for side in (width, height))
    small = cv2.resize(linear, sharp, interpolation=cv2.INTER_AREA)
    small *= gains
    blur_px = camera.blur_px * height / 64 if height < _LARGE_PX else camera.blur_px
    if blur_px > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), blur_px)
    grain = np.frombuffer(rng.bytes(4 * small.shape[0] * small.shape[1]), np.uint8)
    tone = np.empty_like(small)
    curve = _tone_curve(camera.contrast)
    _expose(small, curve, grain.reshape(*small.shape[:2], 4), _GRAIN, camera.noise, tone)
    if sharp != (width, height):
        tone = cv2.resize(tone, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(tone + 0.5, 0, 255).astype(np.uint8)
    return _stored(picture, camera.jpeg) if camera.jpeg else picture


def _stored(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])


@lru_cache(maxsize=4)
def _tone_curve(contrast: float) -> NDArray[np.float32]:
    """Return grey levels in [0, 255] for light from 0 to `_BRIGHTEST`.

    The `_CURVE_POINTS` entries are evenly spaced in the square root of the light. An exponential
    shoulder compresses highlights instead of clipping them; 1 / 2.2 is the display gamma.
    """
    light = np.linspace(0, 1, _CURVE_POINTS) ** 2 * _BRIGHTEST
    tone = (1 - np.exp(-1.25 * light)) ** (1 / 2.2)
    return (255 * _with_contrast(tone, contrast)).astype(np.float32)


@compiled
def _expose(
    light: np.ndarray,
    curve: np.ndarray,
    grain: np.ndarray,
    deviates: np.ndarray,
    noise: float,
    tone: np.ndarray,
) -> None:
    """Convert light to grey levels and add noise.

    Args:
        light: [H, W, 3] linear RGB.
        curve: grey levels, see `_tone_curve`.
        grain: [H, W, 4] indices into `deviates`: one for all colours, then one for each colour.
        deviates: [256] standard normal deviates.
        noise: standard deviation of the noise, in grey levels.
        tone: [H, W, 3] grey levels, overwritten.
    """
    last = curve.shape[0] - 1
    per_root = last / np.sqrt(_BRIGHTEST)
    for i in range(light.shape[0]):
        for j in range(light.shape[1]):
            shared = 0.8 * deviates[grain[i, j, 0]]
            for k in range(3):
                place = min(np.sqrt(max(light[i, j, k], 0.0)) * per_root, last - 0.001)
                index = int(place)
                level = curve[index] + (place - index) * (curve[index + 1] - curve[index])
                tone[i, j, k] = level + noise * (shared + 0.5 * deviates[grain[i, j, k + 1]])


def _with_contrast(tone: NDArray[np.float64], contrast: float) -> NDArray[np.float64]:
    """Apply an S curve around middle grey.

    The curve raises the odds `tone / (1 - tone)` to a power, so it reaches neither black nor white.
    """
    middle = _MIDDLE_GREY / (1 - _MIDDLE_GREY)
    odds = middle * (tone / (middle * (1 - tone) + 1e-6)) ** contrast
    return odds / (1 + odds)


def _exposure(subject: Subject) -> float:
    # Exposure meters compensate for about half of the difference: dark skin is exposed longer, but
    # still appears darker.
    skin = float(_LUMA @ skin_colour(subject.skin))
    return subject.camera.exposure / 0.30**0.55 / skin**0.45

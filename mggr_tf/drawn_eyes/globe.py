"""Geometry of the eyeball, and the camera model.

The eyeball is a sphere. The cornea is a smaller sphere that extends in front of the eyeball. The
cornea refracts light. Therefore the iris and the pupil appear as a disc, about 3 mm behind the
front of the cornea. This disc lies in the iris plane, `IRIS_PLANE` eyeball radii in front of the
eyeball's centre. The gazemap (an input of the network that redirects gazes) uses this plane, too.
The rim of the disc lies on the sphere of the eyeball.

Coordinates are defined in `face_geometry`. In addition, this module uses eye axes, which rotate
with the eye. Their z axis points along the gaze.
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
from mggr_tf.drawn_eyes.face_geometry import APEX_MM, OVERSAMPLING
from mggr_tf.drawn_eyes.subject import Eyeball, Subject
from mggr_tf.drawn_eyes.textures import skin_colour

IRIS_PLANE = float(np.cos(np.radians(30.0)))
"""Distance from the eyeball's centre to the iris plane, in eyeball radii."""

CORNEA_CENTRE, CORNEA_RADIUS = 0.47, 0.65
"""Position of the cornea's centre along the gaze, and radius of the cornea, in eyeball radii."""

_BULGE_AT_MM = -5.0
"""Horizontal position of the middle of the bulge, relative to the middle of the cornea, mm."""

_BULGE_ACROSS_MM, _BULGE_UP_MM = 17.0, 10.5
"""Half axes of the bulge of the lids over the cornea, mm.

The bulge is wider than the cornea, because the plates in the lids are stiff.
"""

_RIM = 0.97
"""Squared radius of the visible eyeball in the image, divided by the squared true radius.

The renderer paints flesh instead of the outermost rim of the eyeball.
"""


class Globe(NamedTuple):
    """Position and rotation of an eyeball for one gaze.

    Attributes:
        turn: [3, 3] float64 rotation matrix from eye axes to camera axes.
        radius_mm: radius of the eyeball, mm.
        iris_mm: radius of the iris, mm.
        centre_x: x offset of the eyeball's centre in camera axes, mm. The offset is 0 for a gaze
            straight ahead.
        centre_y: y offset of the eyeball's centre in camera axes, mm.
    """

    turn: NDArray[np.float64]
    radius_mm: float
    iris_mm: float
    centre_x: float
    centre_y: float


def look(eyeball: Eyeball, *, gaze: Gaze, head: NDArray[np.float64]) -> Globe:
    """Return the position and rotation of an eyeball for a gaze.

    The rotation follows Listing's law: A single rotation turns the eye from straight ahead to the
    gaze. The eye does not rotate about the direction of the gaze.

    Args:
        eyeball: sizes of the eyeball.
        gaze: gaze relative to the camera.
        head: [3, 3] rotation matrix from head axes to camera axes.
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
    # The axis of vertical rotation lies in front of the eyeball's centre. If the eye looks up, the
    # centre therefore moves down.
    centre_x, centre_y = -eyeball.pivot_mm * y * head[:2, 1]
    return Globe(
        head @ from_ahead, eyeball.radius_mm, eyeball.iris_mm, float(centre_x), float(centre_y)
    )


def iris_way(globe: Globe, *, head: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the displacement of the iris from its position for a gaze straight ahead.

    "Straight ahead" is relative to the head.

    Args:
        globe: position and rotation of the eyeball.
        head: [3, 3] rotation matrix from head axes to camera axes.

    Returns:
        [2] displacement (x, y) in camera coordinates, mm.
    """
    turned = globe.radius_mm * IRIS_PLANE * (globe.turn[:2, 2] - head[:2, 2])
    return turned + [globe.centre_x, globe.centre_y]


class Bulge(NamedTuple):
    """Bulge of the closed or open lids over the cornea. The bulge moves when the gaze changes.

    Attributes:
        x_mm: x of the middle of the bulge in head coordinates, mm.
        y_mm: y of the middle of the bulge in head coordinates, mm.
        height_mm: height of the bulge above the surface of the face, mm.
        across_mm: half of the width of the bulge, mm.
        up_mm: half of the height of the area that bulges, mm.
    """

    x_mm: float
    y_mm: float
    height_mm: float
    across_mm: float
    up_mm: float


def bulge_over(globe: Globe, *, head: NDArray[np.float64], height_mm: float) -> Bulge:
    """Return the bulge of the lids for a gaze.

    Args:
        globe: position and rotation of the eyeball.
        head: [3, 3] rotation matrix from head axes to camera axes.
        height_mm: height of the bulge, mm.
    """
    x, y, _ = APEX_MM * (head.T @ globe.turn[:, 2])
    return Bulge(float(x) + _BULGE_AT_MM, float(y), height_mm, _BULGE_ACROSS_MM, _BULGE_UP_MM)


@compiled
def bulge_slope(bulge: Bulge, x: float, y: float) -> float:
    """Return the upward slope (dz / dy) of the bulge at head coordinates (x, y), mm."""
    across, up = (x - bulge.x_mm) / bulge.across_mm, (y - bulge.y_mm) / bulge.up_mm
    left = max(1.0 - across * across - up * up, 0.0)
    return -4.0 * bulge.height_mm * up / bulge.up_mm * left


@compiled
def on_iris(globe: Globe, x: float, y: float) -> tuple[float, float, bool]:
    """Find the point where a line of sight meets the iris plane.

    Args:
        globe: position and rotation of the eyeball.
        x: x of the line of sight in camera coordinates, mm.
        y: y of the line of sight in camera coordinates, mm.

    Returns:
        (u, v, inside): the point in eye axes, mm, and whether the point lies on the iris.
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
    """Return whether the line of sight at camera coordinates (x, y), mm, meets the eyeball.

    For the outermost rim of the eyeball, the result is False; see `_RIM`.
    """
    x, y = x - globe.centre_x, y - globe.centre_y
    return x * x + y * y < _RIM * globe.radius_mm * globe.radius_mm


@compiled
def on_sclera(globe: Globe, x: float, y: float) -> tuple[float, float, float]:
    """Return the visible point of the eyeball at camera coordinates (x, y), mm.

    The result is valid only if `intersects_sphere` returns True for the same (x, y).

    Returns:
        (u, v, w): the point in eye axes, mm.
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
    """Convert a point (u, v, w) in eye axes, mm, to camera coordinates (x, y, depth), mm."""
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
"""256 equally likely values of a standard normal distribution. A random byte selects a value."""

_LARGE_PX = 300
"""Minimum height of a camera frame, pixels. Smaller images are patches.

For a camera frame, the unit of `blur_px` is one pixel of the frame. For a patch, the unit is 1/64
of its height.
"""


def develop(
    linear: NDArray[np.float32], subject: Subject, *, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Convert linear light to an 8-bit image. The subject defines the parameters of the camera.

    Args:
        linear: [H, W, 3] linear RGB at `OVERSAMPLING` times the size of the image.
        subject: person. The person's camera and skin determine exposure, tone, blur and noise.
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
    """Return a table of grey levels in [0, 255] for light from 0 to `_BRIGHTEST`.

    The table has `_CURVE_POINTS` entries. The entries are evenly spaced in the square root of the
    light. An exponential function compresses bright light, so that bright areas are not clipped.
    The display gamma is 2.2.
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
        curve: table of grey levels; see `_tone_curve`.
        grain: [H, W, 4] indices of values in `deviates`. For each pixel, the first value is added
            to all colours. Each other value is added to one colour.
        deviates: [256] values of a standard normal distribution.
        noise: standard deviation of the noise, in grey levels.
        tone: [H, W, 3] output array for the grey levels.
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
    """Increase or decrease the contrast around middle grey with an S-shaped curve.

    The curve raises the odds `tone / (1 - tone)` to a power. Therefore grey never becomes fully
    black or fully white.
    """
    middle = _MIDDLE_GREY / (1 - _MIDDLE_GREY)
    odds = middle * (tone / (middle * (1 - tone) + 1e-6)) ** contrast
    return odds / (1 + odds)


def _exposure(subject: Subject) -> float:
    # The exposure meter of a camera partly compensates for the brightness of the skin. Dark skin is
    # exposed longer, but still appears darker than light skin.
    skin = float(_LUMA @ skin_colour(subject.skin))
    return subject.camera.exposure / 0.30**0.55 / skin**0.45

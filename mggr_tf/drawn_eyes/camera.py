"""From light to bytes: exposure, white balance, tone, blur, noise, resolution, JPEG."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.drawn_eyes.atlas import skin_colour
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.layout import OVERSAMPLING
from mggr_tf.drawn_eyes.subject import Subject

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_MIDDLE_GREY = 0.46
_CURVE_POINTS, _BRIGHTEST = 2048, 8.0
_GRAIN = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
"""Standard normal deviates, equally likely: a byte picks one."""

_LARGE_PX = 300
"""From here on a picture is a frame, whose pixels are the camera's own."""


def develop(
    linear: NDArray[np.float32], subject: Subject, *, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Takes the picture.

    Args:
        linear: [H, W, 3] linear RGB at `OVERSAMPLING` times the picture's size.
        rng: the noise of this one picture.

    Returns:
        [H / OVERSAMPLING, W / OVERSAMPLING, 3] uint8.
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
    """Grey levels [0, 255] at `_CURVE_POINTS` roots of light, from 0 to `_BRIGHTEST`.

    A film's shoulder keeps highlights from clipping hard; 1 / 2.2 is the display's gamma.
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
    """Light [H, W, 3] to grey levels.

    Args:
        grain: [H, W, 4] indices of `deviates`: one that colours share, then their own.
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
    """An S curve round middle grey that reaches neither black nor white: odds to a power."""
    middle = _MIDDLE_GREY / (1 - _MIDDLE_GREY)
    odds = middle * (tone / (middle * (1 - tone) + 1e-6)) ** contrast
    return odds / (1 + odds)


def _exposure(subject: Subject) -> float:
    # Meters half compensate: dark skin is exposed longer, and still comes out darker.
    skin = float(_LUMA @ skin_colour(subject.skin))
    return subject.camera.exposure / 0.30**0.55 / skin**0.45

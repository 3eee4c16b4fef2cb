"""From light to bytes: exposure, white balance, tone, blur, noise, resolution, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.atlas import skin_colour
from mggr_tf.data.synthetic.layout import OVERSAMPLING
from mggr_tf.data.synthetic.subject import Subject

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_MIDDLE_GREY = 0.46
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
    # A film's shoulder keeps highlights from clipping hard; 1 / 2.2 is the display's gamma.
    tone = (1 - np.exp(-1.25 * np.maximum(small, 0))) ** np.float32(1 / 2.2)
    tone = _with_contrast(tone, camera.contrast)
    grain = rng.standard_normal((*tone.shape[:2], 4), dtype=np.float32)
    tone = 255 * tone
    tone += np.float32(camera.noise) * (0.8 * grain[..., :1] + 0.5 * grain[..., 1:])
    if sharp != (width, height):
        tone = cv2.resize(tone, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(tone + 0.5, 0, 255).astype(np.uint8)
    return _stored(picture, camera.jpeg) if camera.jpeg else picture


def _stored(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])


def _with_contrast(tone: NDArray[np.float32], contrast: float) -> NDArray[np.float32]:
    """An S curve round middle grey that reaches neither black nor white: odds to a power."""
    middle = np.float32(_MIDDLE_GREY / (1 - _MIDDLE_GREY))
    odds = middle * (tone / (middle * (1 - tone) + 1e-6)) ** np.float32(contrast)
    return odds / (1 + odds)


def _exposure(subject: Subject) -> float:
    # Meters half compensate: dark skin is exposed longer, and still comes out darker.
    skin = float(_LUMA @ skin_colour(subject.skin))
    return subject.camera.exposure / 0.30**0.55 / skin**0.45

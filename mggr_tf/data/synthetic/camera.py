"""From light to bytes: exposure, white balance, tone, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_tf.data.synthetic.layout import OVERSAMPLING
from mggr_tf.data.synthetic.skin import skin_colour
from mggr_tf.data.synthetic.subject import Subject

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_MIDDLE_GREY = 0.46


def develop(
    linear: NDArray[np.float32], subject: Subject, *, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Takes the picture.

    Args:
        linear: [3, n, n] linear RGB at `OVERSAMPLING` times the patch's size.
        rng: the noise of this one picture.

    Returns:
        [n / OVERSAMPLING, n / OVERSAMPLING, 3] uint8.
    """
    camera = subject.camera
    size = linear.shape[1] // OVERSAMPLING
    gains = (_exposure(subject) * np.asarray(camera.white_balance)).astype(np.float32)
    small = cv2.resize(cv2.merge(list(linear)), (size, size), interpolation=cv2.INTER_AREA)
    small *= gains
    if camera.blur_px > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), camera.blur_px)
    # A film's shoulder keeps highlights from clipping hard; 1 / 2.2 is the display's gamma.
    tone = (1 - np.exp(-1.25 * np.maximum(small, 0))) ** np.float32(1 / 2.2)
    tone = _with_contrast(tone, camera.contrast)
    grain = rng.standard_normal((size, size, 4), dtype=np.float32)
    noise = np.float32(camera.noise) * (0.8 * grain[..., :1] + 0.5 * grain[..., 1:])
    return np.clip(255 * tone + noise + 0.5, 0, 255).astype(np.uint8)


def _with_contrast(tone: NDArray[np.float32], contrast: float) -> NDArray[np.float32]:
    """An S curve round middle grey that reaches neither black nor white: odds to a power."""
    middle = np.float32(_MIDDLE_GREY / (1 - _MIDDLE_GREY))
    odds = middle * (tone / (middle * (1 - tone) + 1e-6)) ** np.float32(contrast)
    return odds / (1 + odds)


def _exposure(subject: Subject) -> float:
    # Meters half compensate: dark skin is exposed longer, and still comes out darker.
    skin = float(_LUMA @ skin_colour(subject.skin))
    return subject.camera.exposure / 0.30**0.55 / skin**0.45

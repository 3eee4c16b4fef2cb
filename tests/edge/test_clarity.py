"""Clarity knows an eye from what lies before it, whatever the light."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.clarity import clarity
from mggr_edge.eyecrop import EyeCrop

CROP = EyeCrop(centre=(132.0, 132.0), width_px=64.0, roll_deg=0.0, size_px=64)
"""One pixel of the patch to one of the frame, (100, 100) at its corner or nearly."""


def _opening() -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return np.stack([132 + 19 * np.cos(turn), 132 + 7 * np.sin(turn)], axis=1)


def _eye(*, white: int = 180, iris: int = 60, skin: int = 140) -> NDArray[np.uint8]:
    patch = np.full((64, 64, 3), skin, np.uint8)
    cv2.ellipse(patch, (32, 32), (19, 7), 0, 0, 360, (white,) * 3, -1, cv2.LINE_AA)
    opening = np.zeros((64, 64), np.uint8)
    cv2.ellipse(opening, (32, 32), (19, 7), 0, 0, 360, 255, -1)
    disc = patch.copy()
    cv2.circle(disc, (32, 31), 9, (iris,) * 3, -1, cv2.LINE_AA)
    patch[opening > 0] = disc[opening > 0]
    return patch


def test_an_eye_is_clear_and_what_is_plain_is_not() -> None:
    assert clarity(_eye(), _opening(), CROP) > 0.15
    assert clarity(np.full((64, 64, 3), 140, np.uint8), _opening(), CROP) == 0


def test_a_wider_blur_is_less_clear() -> None:
    sigmas = (0.5, 1.0, 2.0, 4.0, 8.0)
    values = [clarity(cv2.GaussianBlur(_eye(), (0, 0), s), _opening(), CROP) for s in sigmas]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.03 < 0.07 < values[1]


def test_less_light_makes_an_eye_hardly_less_clear() -> None:
    bright = clarity(_eye(), _opening(), CROP)
    dark = clarity((_eye() // 3).astype(np.uint8), _opening(), CROP)
    assert 0.7 * bright < dark <= bright


@pytest.mark.parametrize("opening", [np.zeros((16, 2)), np.full((16, 2), 132.0)])
def test_an_opening_of_no_pixels_is_not_clear(opening: NDArray) -> None:
    assert clarity(_eye(), opening, CROP) == 0

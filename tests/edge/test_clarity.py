"""Clarity is high for a sharp eye and low for a blurred or plain one, whatever the light."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import EyeCrop
from mggr_edge.vision.eye_quality import sharpness, sharpness_of_eye
from mggr_edge.vision.iris import Eye


def _opening() -> NDArray[np.uint8]:
    opening = np.zeros((64, 64), np.uint8)
    cv2.ellipse(opening, (32, 32), (19, 7), 0, 0, 360, 1, -1)
    return opening


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
    assert sharpness(_eye(), _opening()) > 0.15
    assert sharpness(np.full((64, 64, 3), 140, np.uint8), _opening()) == 0


def test_a_wider_blur_is_less_clear() -> None:
    sigmas = (0.5, 1.0, 2.0, 4.0, 8.0)
    values = [sharpness(cv2.GaussianBlur(_eye(), (0, 0), s), _opening()) for s in sigmas]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.03 < 0.07 < values[1]


def test_less_light_makes_an_eye_hardly_less_clear() -> None:
    bright = sharpness(_eye(), _opening())
    dark = sharpness((_eye() // 3).astype(np.uint8), _opening())
    assert 0.7 * bright < dark <= bright


@pytest.mark.parametrize("outline", [np.zeros((16, 2)), np.full((16, 2), 32.0)])
def test_an_opening_of_no_pixels_is_not_clear(outline: NDArray) -> None:
    crop = EyeCrop(centre=(31.5, 31.5), width_px=64.0, roll_deg=0.0)
    eye = Eye("right", outline.astype(np.float32), (32.0, 32.0), 9.0)
    assert sharpness_of_eye(_eye(), eye, crop) == 0.0


@pytest.mark.parametrize(("width", "roll_deg"), [(64.0, 0.0), (300.0, 20.0)])
def test_the_outline_of_a_frame_is_brought_into_the_patch(width: float, roll_deg: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    in_patch = np.stack([32 + 19 * np.cos(turn), 32 + 7 * np.sin(turn)], axis=1)
    crop = EyeCrop(centre=(300.0, 200.0), width_px=width, roll_deg=roll_deg)
    to_frame = crop.frame_from_eye(64)
    outline = (in_patch @ to_frame[:, :2].T + to_frame[:, 2]).astype(np.float32)
    eye = Eye("right", outline, (300.0, 200.0), 9.0 * width / 64)
    found = sharpness_of_eye(_eye(), eye, crop)
    assert found == pytest.approx(sharpness(_eye(), _opening()), rel=0.1)

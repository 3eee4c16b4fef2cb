"""An eye is told from what lies before it: fingers, hair, a plain hand."""

import cv2
import numpy as np
import pytest
from mggr_edge.visibility import visibility
from numpy.typing import NDArray

from mggr_edge.eyecrop import EyeCrop
from mggr_edge.gating import Limits
from mggr_edge.iris import Eye

SKINS = [(236, 200, 180), (196, 142, 110), (120, 78, 56), (66, 44, 36)]
IRISES = [(40, 25, 15), (90, 110, 130), (80, 95, 60)]
NONE, FULL = Limits().likeness


def _scene(
    skin: tuple[int, int, int], iris: tuple[int, int, int], *, width: int = 64, roll_deg: float = 0
) -> tuple[NDArray[np.uint8], Eye, EyeCrop]:
    """A patch of 64 pixels, and its eye in a frame where it is `width` wide."""
    patch = np.full((64, 64, 3), skin, np.uint8)
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outline = np.stack([31.5 + 19 * np.cos(turn), 31.5 + 7.5 * np.sin(turn)], axis=1)
    opening = np.zeros((64, 64), np.uint8)
    cv2.fillPoly(opening, [np.rint(16 * outline).astype(np.int32)], 1, shift=4)
    white = np.clip(np.array(skin) * 0.6 + 95, 0, 225).astype(int)
    painted = np.full((64, 64, 3), white, np.uint8)
    cv2.circle(painted, (32, 31), 9, iris, -1, cv2.LINE_AA)
    cv2.circle(painted, (32, 31), 4, (12, 10, 10), -1, cv2.LINE_AA)
    patch[opening > 0] = painted[opening > 0]
    crop = EyeCrop(centre=(300.0, 200.0), width_px=float(width), roll_deg=roll_deg)
    to_frame = crop.frame_from_eye(64)
    in_frame = (outline @ to_frame[:, :2].T + to_frame[:, 2]).astype(np.float32)
    centre = to_frame[:, :2] @ (32, 31) + to_frame[:, 2]
    eye = Eye("right", in_frame, (float(centre[0]), float(centre[1])), 9 * width / 64)
    return patch, eye, crop


def _fingers(skin: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """Rounded, shaded, a little uneven, each with a dark line to the next."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    angle = rng.uniform(0, np.pi)
    across = (x * np.cos(angle) + y * np.sin(angle)) / 64 * rng.uniform(1.5, 5) + rng.uniform()
    shade = np.sqrt(1 - rng.uniform(0.5, 0.95) * (2 * (across % 1) - 1) ** 2)
    uneven = 1 + 0.08 * cv2.GaussianBlur(rng.normal(size=(64, 64)), (0, 0), 1.2)
    return np.clip(np.array(skin) * (shade * uneven)[..., None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("iris", IRISES)
def test_an_eye_of_any_colour_is_like_an_eye(
    skin: tuple[int, int, int], iris: tuple[int, int, int]
) -> None:
    assert visibility(*_scene(skin, iris)).likeness > FULL
    assert visibility(*_scene(skin, iris, width=300, roll_deg=20)).likeness > FULL


@pytest.mark.parametrize("skin", SKINS)
def test_what_covers_an_eye_is_not(skin: tuple[int, int, int]) -> None:
    patch, eye, crop = _scene(skin, IRISES[0])
    assert visibility(np.full_like(patch, skin), eye, crop).likeness < NONE
    found = []
    for seed in range(20):
        covered = patch.copy()
        covered[12:52, 4:60] = _fingers(skin, seed)[12:52, 4:60]
        found.append(visibility(covered, eye, crop).likeness)
    assert np.mean(np.array(found) < NONE) >= 0.75
    assert np.mean(np.array(found) < FULL) >= 0.9


@pytest.mark.parametrize("gain", [0.3, 0.6])
def test_less_light_leaves_an_eye_an_eye(gain: float) -> None:
    patch, eye, crop = _scene(SKINS[1], IRISES[1])
    assert visibility((patch * gain).astype(np.uint8), eye, crop).likeness > FULL


def test_without_colour_an_eye_is_an_eye() -> None:
    patch, eye, crop = _scene(SKINS[1], IRISES[0])
    grey = np.repeat(patch.mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    assert visibility(grey, eye, crop).likeness > FULL

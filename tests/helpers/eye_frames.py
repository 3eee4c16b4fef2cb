"""Frames, crops and flows to compose eyes with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye
from mggr_edge.pipeline.compositing import ComposedEye, put_eye

SIZE = (200, 240)
CENTRE = (120.0, 100.0)


def make_opening(
    centre: tuple[float, float] = CENTRE, *, width_px: float = 50.0, roll_deg: float = 0.0
) -> NDArray[np.float64]:
    """An almond of 16 points, the corners first and ninth."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    almond = np.stack([width_px / 2 * np.cos(angle), 0.16 * width_px * np.sin(angle)], -1)
    roll = np.radians(roll_deg)
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return almond @ rotation.T + centre


def make_crop(opening: NDArray[np.float64]) -> EyeCrop:
    return crop_of_eye(opening, corners=opening[[8, 0]])


def texture(x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """A smooth picture that can be read between pixels."""
    return np.stack(
        [
            128 + 60 * np.sin(x / 9) * np.cos(y / 11),
            128 + 60 * np.cos(x / 8 + y / 13),
            90 + 0.3 * x + 0.2 * y,
        ],
        axis=-1,
    )


def make_frame() -> NDArray[np.uint8]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    return np.rint(texture(x, y)).astype(np.uint8)


def noise_frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def constant_flow(dx: float, dy: float) -> NDArray[np.float32]:
    return np.broadcast_to(np.array([dx, dy], np.float32), (64, 64, 2))


NO_RESIDUAL = np.zeros((64, 64, 3), np.float32)


def put(frame: NDArray[np.uint8], eye: ComposedEye) -> NDArray[np.uint8]:
    out = frame.copy()
    put_eye(out, eye)
    return out

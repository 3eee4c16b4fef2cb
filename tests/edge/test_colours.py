"""An edit adds no colours to a picture that has none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.compositing import limited_to_colours_of, residual_in_colours_of
from mggr_edge.pipeline.redirector import Redirector


def grey_patch(contrast: float = 1.0) -> NDArray[np.float64]:
    y, x = np.mgrid[:64, :64].astype(np.float64)
    return 110 + contrast * 60 * np.sin(x / 9) * np.cos(y / 11)


def toned(grey: NDArray, tint: tuple[float, float, float] = (0.8, 1.0, 1.3)) -> NDArray[np.uint8]:
    """A toned photograph: each channel is a curve of the grey level."""
    levels = (grey / 255)[..., None] ** np.array(tint)
    return np.rint(255 * levels).astype(np.uint8)


def coloured_residual() -> NDArray[np.float32]:
    y, x = np.mgrid[:64, :64].astype(np.float32) / 64
    return np.stack([0.4 * x, -0.3 * y, 0.5 * (y - x)], axis=-1)


FLOW = np.broadcast_to(np.array([3.0, 1.0], np.float32), (64, 64, 2))


@pytest.mark.parametrize("contrast", [1.0, 0.0])
def test_a_grey_patch_gets_a_grey_residual(contrast: float) -> None:
    patch = np.dstack([np.rint(grey_patch(contrast)).astype(np.uint8)] * 3)
    residual = residual_in_colours_of(patch, flow=FLOW, residual=coloured_residual())
    assert np.ptp(residual, axis=-1).max() == 0
    luma = coloured_residual() @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(residual[..., 0], luma, atol=1e-5)


def test_a_toned_patch_keeps_to_its_tone() -> None:
    made = toned(grey_patch()) + 127.5 * coloured_residual()
    limited = limited_to_colours_of(toned(grey_patch()), made)
    tones = toned(np.arange(256.0)).astype(float)

    def away(pixels: NDArray) -> float:
        pixels = pixels.reshape(-1, 3)
        return float(np.linalg.norm(pixels[:, None] - tones[None], axis=-1).min(axis=1).max())

    assert away(made) > 50
    assert away(limited) < 12


def test_the_noise_of_a_grey_video_is_not_exceeded() -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (64, 64, 3))
    patch = np.rint(grey_patch()[..., None] + noise).astype(np.uint8)
    limited = limited_to_colours_of(patch, patch + 127.5 * coloured_residual())
    assert np.ptp(limited, axis=-1).max() < 5


def test_what_keeps_to_the_colours_of_a_picture_is_not_changed() -> None:
    patch = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_allclose(
        limited_to_colours_of(patch, patch[::-1].astype(np.float32)), patch[::-1], atol=1e-3
    )


@pytest.mark.parametrize("contrast", [(1.0, 0.0), (1.4, -60.0)])
def test_a_black_and_white_portrait_stays_without_colour(
    bundle: Bundle, portrait: NDArray[np.uint8], contrast: tuple[float, float]
) -> None:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    grey = cv2.convertScaleAbs(grey, alpha=contrast[0], beta=contrast[1])
    result = Redirector(bundle, target=Gaze(-10, 20)).process(np.dstack([grey] * 3))
    assert any(eye.strength > 0 for face in result.faces for eye in face.eyes)
    assert (result.frame != grey[..., None]).any()
    assert np.ptp(result.frame.astype(int), axis=-1).max() == 0

"""A picture that differs from itself turned, and how near two pictures are."""

from __future__ import annotations

import numpy as np


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def smooth_picture(height: int = 48, width: int = 64, *, shift: float = 0.0) -> np.ndarray:
    """[H, W, 3] uint8: no two of its eight orientations are alike, and codecs like it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = (40 + 2.5 * x + shift, 30 + 3.0 * y, 200 - x - y - shift)
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)

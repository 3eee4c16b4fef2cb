"""Image and gaze metrics, one value per example. Reported, never minimised."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.angles import angular_error_deg

_LARGEST_PSNR_DB = 100.0
"""What a perfect copy scores, so that means stay finite."""


def image_metrics(
    made: NDArray[np.float32], real: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Compares pictures with the real pictures of the same gaze.

    Args:
        made, real: [N, H, W, 3] float32 in [0, 1].

    Returns:
        [N] each: `l1` and `mse` in units of the [0, 1] range, `psnr_db`, `ssim`
        (11 x 11 Gaussian windows, Wang et al. 2004).
    """
    difference = made.astype(np.float64) - real
    axes = (1, 2, 3)
    mse = np.mean(difference**2, axis=axes)
    psnr = -10 * np.log10(np.maximum(mse, 10 ** (-_LARGEST_PSNR_DB / 10)))
    return {
        "l1": np.mean(np.abs(difference), axis=axes),
        "mse": mse,
        "psnr_db": psnr,
        "ssim": tf.image.ssim(made, real, max_val=1.0).numpy().astype(np.float64),
    }


def gaze_error_deg(
    seen_deg: NDArray[np.float32], wanted_deg: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Angle between what a judge sees and what was asked for, [N] degrees."""
    return angular_error_deg(seen_deg, wanted_deg)

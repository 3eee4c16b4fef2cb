"""Every metric there is: its name in files, its title in tables, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is shown and compared.

    Attributes:
        title: head of its column.
        form: format of its values.
        better: None where neither way is: the target shows what is right.
        over: single pairs, or the set of all pictures.
        meaning: what it measures, in which unit.
    """

    title: str
    form: str
    better: Literal["lower", "higher"] | None
    over: Literal["pair", "set"]
    meaning: str


CATALOGUE: dict[str, Metric] = {
    "l1": Metric("L1", ".4f", "lower", "pair", "mean absolute difference, [0, 1] range"),
    "mse": Metric("MSE", ".5f", "lower", "pair", "mean squared difference, [0, 1] range"),
    "psnr_db": Metric("PSNR", ".2f", "higher", "pair", "peak signal-to-noise ratio, dB"),
    "ssim": Metric("SSIM", ".4f", "higher", "pair", "structural similarity"),
    "gaze_error_deg": Metric(
        "gaze error", ".2f", "lower", "pair", "angle between what the judge sees and the wish, deg"
    ),
    "outside_iris": Metric(
        "outside", ".4f", None, "pair", "mean change of the source where neither iris is, [0, 1]"
    ),
    "st_lpips": Metric("ST-LPIPS", ".4f", "lower", "pair", "shift-tolerant LPIPS, VGG-16"),
    "lpips": Metric("LPIPS", ".4f", "lower", "pair", "stock LPIPS, with the user's weights"),
    "fd_vgg": Metric(
        "FD-VGG", ".3f", "lower", "set", "Frechet distance of shift-tolerant VGG-16 features"
    ),
    "kd_vgg": Metric(
        "KD-VGG", ".4f", "lower", "set", "kernel distance of shift-tolerant VGG-16 features"
    ),
    "fid_keras_inception": Metric(
        "FID (Keras Inception)", ".2f", "lower", "set", "Frechet distance, Keras' InceptionV3"
    ),
    "kid_keras_inception": Metric(
        "KID (Keras Inception)", ".4f", "lower", "set", "kernel distance, Keras' InceptionV3"
    ),
}
"""In the order of the tables. What decides between methods is ST-LPIPS, FD-VGG and KD-VGG;
the last two are of Keras' InceptionV3, not of the port that published FIDs use."""

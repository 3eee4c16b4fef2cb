"""Metrics of redirected pictures, and the scores of pairs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions
from mggr_tf.evaluation.network_metrics import REAL
from mggr_tf.evaluation.set_metrics import set_metrics

_LARGEST_PSNR_DB = 100.0
"""What a perfect copy scores, so that means stay finite."""

_IRIS_MARGIN_PX = 4
"""By how much a drawn iris is widened: its label is a few degrees off, 0.23 px each at the
gazemap's scale, real irises differ in size, and their shadow moves along."""

Pictures = NDArray[np.float32]
PairMetrics = dict[str, NDArray[np.float64]]


def picture_metrics(
    pictures: Mapping[str, Pictures],
    *,
    real: Pictures,
    source: Pictures,
    source_deg: NDArray[np.float32],
    target_deg: NDArray[np.float32],
    conventions: Conventions,
) -> dict[str, PairMetrics]:
    """All metrics that need no network, for pictures that several methods made of the same pairs.

    Args:
        pictures: method -> [P, H, W, 3] float32 in [0, 1].
        real: the real pictures of the target gaze, alike.
        source: what the methods were given, alike.
        source_deg, target_deg: [P, 2] degrees, (pitch, yaw), as in the patches.

    Returns:
        method -> metric -> [P]; `image_metrics` and `outside_iris`.
    """
    outside = outside_irises(source_deg, target_deg, conventions=conventions)
    return {
        method: {
            **image_metrics(made, real),
            "outside_iris": change_where(outside, made, source),
        }
        for method, made in pictures.items()
    }


def image_metrics(made: Pictures, real: Pictures) -> PairMetrics:
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


def outside_irises(
    source_deg: NDArray[np.float32],
    target_deg: NDArray[np.float32],
    *,
    conventions: Conventions,
) -> NDArray[np.bool_]:
    """Pixels that neither the source's nor the target's iris touches, [N, H, W].

    The irises are those of the gazemap, widened by four pixels.

    Args:
        source_deg, target_deg: [N, 2] degrees, (pitch, yaw).
    """
    across = 2 * _IRIS_MARGIN_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    free = []
    for both in zip(source_deg, target_deg, strict=True):
        irises = draw_gazemap(
            np.stack(both), size_px=conventions.patch_size, k=conventions.gazemap_k
        )[..., 0]
        touched = np.any(irises > 0, axis=0).astype(np.uint8)
        free.append(cv2.dilate(touched, disc) == 0)
    return np.stack(free)


def change_where(where: NDArray[np.bool_], made: Pictures, source: Pictures) -> NDArray[np.float64]:
    """Mean absolute change of the source where a mask says so, [N], in the [0, 1] range.

    Outside both irises (`outside_irises`), 0 is what copying scores, and the real
    target's own value is what lids, light and a moved head change there: a method
    should lie between.

    Args:
        where: [N, H, W]; no picture's may be empty.
        made, source: [N, H, W, 3] float32 in [0, 1].
    """
    change = np.abs(made.astype(np.float64) - source).mean(axis=-1)  # [N, H, W]
    return np.sum(change * where, axis=(1, 2)) / np.sum(where, axis=(1, 2))


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


def multiply_accumulates(model: keras.Model) -> float:
    """Multiply-accumulates of one example, counted by TensorFlow's own profiler.

    Two floating-point operations count as one multiply-accumulate; activations
    and resampling are in the sum too.
    """
    names = [tensor.name.split(":")[0] for tensor in model.inputs]
    specs = [tf.TensorSpec((1, *t.shape[1:]), tf.float32) for t in model.inputs]

    @tf.function
    def run(*tensors: tf.Tensor) -> object:
        named = dict(zip(names, tensors, strict=True))
        return model(named if len(tensors) > 1 else tensors[0])

    frozen = convert_variables_to_constants_v2(run.get_concrete_function(*specs))
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    operations = profiler.profile(frozen.graph, options=options).total_float_ops
    return operations / 2


SHIFT_BINS_DEG = (0.0, 15.0, 22.0, np.inf)
"""Small, middle and large; a method must hold in each."""

SET_METRICS = {
    "st_vgg": ("fd_vgg", "kd_vgg"),
    "keras_inception": ("fid_keras_inception", "kid_keras_inception"),
}
"""Network -> its Fréchet and its kernel distance."""

_HEAD_BINS_DEG = (-90.0, -20.0, -7.0, 7.0, 20.0, 90.0)
_FEW_HEADS = 15
"""A camera array has few head poses, each worth a table; free heads are binned."""

Table = dict[str, dict[str, float | None]]
"""Method -> metric -> value; None is a metric that could not be measured."""


@dataclass(frozen=True)
class PairScores:
    """What was measured on P pairs.

    Attributes:
        subject: [P] whose.
        shift_deg: [P] angle between source and target gaze.
        head_yaw_deg: [P].
        metrics: method -> metric -> [P].
        features: network (see `SET_METRICS`) -> method, and `REAL` -> [P, D].
        absent: metric -> why it was not measured.
    """

    subject: NDArray[np.str_]
    shift_deg: NDArray[np.float64]
    head_yaw_deg: NDArray[np.float32]
    metrics: dict[str, dict[str, NDArray[np.float64]]]
    features: dict[str, dict[str, NDArray[np.float32]]]
    absent: dict[str, str]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects, sorted."""
        return tuple(sorted({str(name) for name in self.subject}))


def overall(scores: PairScores) -> Table:
    """Over all pairs: means of what is measured on pairs, and the sets' distances."""
    table = pair_means(scores, np.ones(len(scores.subject), bool))
    for network, features in scores.features.items():
        made = {method: features[method] for method in table}
        frechet, kernel = SET_METRICS[network]
        for method, distances in set_metrics(made, features[REAL]).items():
            table[method] |= {frechet: distances.frechet, kernel: distances.kernel}
    return {m: _in_order(row | dict.fromkeys(scores.absent)) for m, row in table.items()}


def pair_means(scores: PairScores, where: NDArray[np.bool_]) -> Table:
    """Means over the pairs of a mask, [P].

    Without the distances of sets: those grow as sets shrink, so that a part's
    could not be read beside the whole's.
    """
    return {
        method: _in_order({name: float(np.mean(v[where])) for name, v in metrics.items()})
        for method, metrics in scores.metrics.items()
    }


def by_shift(scores: PairScores) -> dict[str, Table]:
    """By the angle between source and target gaze, in `SHIFT_BINS_DEG`."""
    return _by(scores, _bins(scores.shift_deg, SHIFT_BINS_DEG))


def by_head(scores: PairScores) -> dict[str, Table]:
    """By the head's yaw."""
    yaws = np.unique(scores.head_yaw_deg)
    if len(yaws) > _FEW_HEADS:
        return _by(scores, _bins(scores.head_yaw_deg, _HEAD_BINS_DEG))
    # Adding zero makes of a mirrored -0 the 0 that it is.
    return _by(scores, {f"{yaw + 0.0:+g} deg": scores.head_yaw_deg == yaw for yaw in yaws})


def _in_order(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: row[name] for name in CATALOGUE if name in row}


def _by(scores: PairScores, parts: Mapping[str, NDArray[np.bool_]]) -> dict[str, Table]:
    return {title: pair_means(scores, where) for title, where in parts.items() if where.any()}


def _bins(values: NDArray[np.floating], edges: tuple[float, ...]) -> dict[str, NDArray[np.bool_]]:
    return {
        f"{low:g}+ deg" if np.isinf(high) else f"{low:g} to {high:g} deg": (values >= low)
        & (values < high)
        for low, high in itertools.pairwise(edges)
    }

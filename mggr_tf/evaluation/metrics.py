"""Metrics of redirected pictures, and tables of the scores of pairs."""

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
"""PSNR of a perfect copy. The limit keeps means finite."""

_IRIS_MARGIN_PX = 4
"""Margin around the iris of a gazemap. It is needed because labels have errors of a few degrees
(0.23 px per degree in the gazemap), real irises differ in size, and their shadow moves along."""

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
    """Compute all metrics that need no network, for several methods on the same pairs.

    Args:
        pictures: method -> redirected pictures [P, H, W, 3] float32 in [0, 1].
        real: real pictures of the target gaze, same format.
        source: source pictures, the input of the methods, same format.
        source_deg: [P, 2] source gazes in degrees, (pitch, yaw), in the axes of the patches.
        target_deg: [P, 2] target gazes, same format.
        conventions: size and scale of gazemaps.

    Returns:
        method -> metric -> [P]; the metrics are those of `image_metrics`, and `outside_iris`.
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
    """Compare redirected pictures with the real pictures of the same gaze.

    Args:
        made: redirected pictures [N, H, W, 3] float32 in [0, 1].
        real: real pictures, same format.

    Returns:
        metric -> [N]: `l1` and `mse` in units of the [0, 1] range, `psnr_db`, and `ssim` (11 x 11
        Gaussian windows, Wang et al. 2004).
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
    """Return the angle between the judge's estimate and the requested gaze, [N] degrees.

    Args:
        seen_deg: [N, 2] gazes that the judge estimates, (pitch, yaw) in degrees.
        wanted_deg: [N, 2] requested gazes, same format.
    """
    return angular_error_deg(seen_deg, wanted_deg)


def outside_irises(
    source_deg: NDArray[np.float32],
    target_deg: NDArray[np.float32],
    *,
    conventions: Conventions,
) -> NDArray[np.bool_]:
    """Return a mask [N, H, W] of the pixels outside the source's and the target's iris.

    The irises are those of the gazemap, dilated by four pixels.

    Args:
        source_deg: [N, 2] source gazes, (pitch, yaw) in degrees.
        target_deg: [N, 2] target gazes, same format.
        conventions: size and scale of gazemaps.
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
    """Return the mean absolute change of the source inside a mask, [N], in the [0, 1] range.

    Outside both irises (`outside_irises`), copying the source scores 0. The real target scores
    more, because lids, light and head change between two photographs. A good method lies between
    these two values.

    Args:
        where: mask [N, H, W]; it must have at least one pixel in each picture.
        made: redirected pictures [N, H, W, 3] float32 in [0, 1].
        source: source pictures, same format.
    """
    change = np.abs(made.astype(np.float64) - source).mean(axis=-1)  # [N, H, W]
    return np.sum(change * where, axis=(1, 2)) / np.sum(where, axis=(1, 2))


@dataclass(frozen=True)
class Metric:
    """Display and comparison of a metric.

    Attributes:
        title: column title.
        form: format specification of its values.
        better: direction of better values; None if neither direction is better, and the value of
            the real target is the reference.
        over: whether the metric is computed on each pair, or on the set of all pictures.
        meaning: definition of the metric, with its unit.
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
        "gaze error",
        ".2f",
        "lower",
        "pair",
        "angle between the judge's estimate and the target, deg",
    ),
    "outside_iris": Metric(
        "outside", ".4f", None, "pair", "mean change of the source outside both irises, [0, 1]"
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
"""Metric -> its description, in the order of the tables. The deciding metrics between methods are
ST-LPIPS, FD-VGG and KD-VGG. The last two metrics use Keras' InceptionV3, not the port that
published FIDs use."""


def multiply_accumulates(model: keras.Model) -> float:
    """Return the multiply-accumulates of a model for one example, from TensorFlow's profiler.

    Two floating-point operations count as one multiply-accumulate. Activations and resampling are
    included.
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
"""Bounds of the bins for small, medium and large shifts. A method must be good in every bin."""

SET_METRICS = {
    "st_vgg": ("fd_vgg", "kd_vgg"),
    "keras_inception": ("fid_keras_inception", "kid_keras_inception"),
}
"""Network -> names of its Fréchet distance and its kernel distance."""

_HEAD_BINS_DEG = (-90.0, -20.0, -7.0, 7.0, 20.0, 90.0)
_FEW_HEADS = 15
"""Maximum number of head yaws with a table each. A camera array has few head poses; the yaws of
freely moving heads are grouped into bins."""

Table = dict[str, dict[str, float | None]]
"""Method -> metric -> value; None for a metric that could not be measured."""


@dataclass(frozen=True)
class PairScores:
    """Scores of several methods on P pairs.

    Attributes:
        subject: [P] name of the subject of each pair.
        shift_deg: [P] angle between source and target gaze in degrees.
        head_yaw_deg: [P] yaw of the head in degrees.
        metrics: method -> metric -> [P] value of each pair.
        features: network (see `SET_METRICS`) -> method or `REAL` -> [P, D] features of the
            pictures.
        absent: metric -> reason why it was not measured.
    """

    subject: NDArray[np.str_]
    shift_deg: NDArray[np.float64]
    head_yaw_deg: NDArray[np.float32]
    metrics: dict[str, dict[str, NDArray[np.float64]]]
    features: dict[str, dict[str, NDArray[np.float32]]]
    absent: dict[str, str]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Sorted names of all subjects."""
        return tuple(sorted({str(name) for name in self.subject}))


def overall(scores: PairScores) -> Table:
    """Return the table over all pairs: means of pair metrics, and distances between sets."""
    table = pair_means(scores, np.ones(len(scores.subject), bool))
    for network, features in scores.features.items():
        made = {method: features[method] for method in table}
        frechet, kernel = SET_METRICS[network]
        for method, distances in set_metrics(made, features[REAL]).items():
            table[method] |= {frechet: distances.frechet, kernel: distances.kernel}
    return {m: _in_order(row | dict.fromkeys(scores.absent)) for m, row in table.items()}


def pair_means(scores: PairScores, where: NDArray[np.bool_]) -> Table:
    """Return a table of means over the pairs in a mask [P].

    Distances between sets are omitted, because they grow when sets become smaller. The values for
    a subset of pairs could not be compared with those for all pairs.
    """
    return {
        method: _in_order({name: float(np.mean(v[where])) for name, v in metrics.items()})
        for method, metrics in scores.metrics.items()
    }


def by_shift(scores: PairScores) -> dict[str, Table]:
    """Return one table for each bin of `SHIFT_BINS_DEG`, by the angle between the two gazes."""
    return _by(scores, _bins(scores.shift_deg, SHIFT_BINS_DEG))


def by_head(scores: PairScores) -> dict[str, Table]:
    """Return one table for each yaw of the head, or for each bin if there are many yaws."""
    yaws = np.unique(scores.head_yaw_deg)
    if len(yaws) > _FEW_HEADS:
        return _by(scores, _bins(scores.head_yaw_deg, _HEAD_BINS_DEG))
    # Adding zero turns -0, the yaw of a mirrored frontal head, into 0.
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

"""Compute metrics of redirected pictures, and tables of their scores.

A pair consists of two pictures of one person: the source and the target. The shift of a pair is the
angle between its source gaze and its target gaze.
"""

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
from mggr_edge.models.conventions import Conventions
from mggr_tf.evaluation.network_metrics import REAL
from mggr_tf.evaluation.set_metrics import set_metrics

_LARGEST_PSNR_DB = 100.0
"""Maximum PSNR. A perfect copy has this value. This limit keeps means finite."""

_IRIS_MARGIN_PX = 4
"""Margin in pixels around the iris of a gazemap. There are three reasons for this margin. Labels
have errors of a few degrees, and one degree is 0.23 pixels in the gazemap. Real irises differ in
size. The shadow near an iris moves with the iris."""

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
    """Compute all metrics that need no network.

    Several methods are measured on the same pairs.

    Args:
        pictures: method -> redirected pictures [P, H, W, 3] float32 in [0, 1].
        real: [P, H, W, 3] float32 real pictures with the target gaze, in [0, 1].
        source: [P, H, W, 3] float32 source pictures in [0, 1]. They are the input of the methods.
        source_deg: [P, 2] source gazes (pitch, yaw) in degrees, in the axes of the patches.
        target_deg: [P, 2] target gazes, in the same format as `source_deg`.
        conventions: size and scale of gazemaps.

    Returns:
        method -> metric -> [P] values. The metrics are `outside_iris` and all metrics of
        `image_metrics`.
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
        real: real pictures, in the same format as `made`.

    Returns:
        metric -> [N] values. The metrics are `l1`, `mse`, `psnr_db` and `ssim`. `l1` and `mse`
        refer to pixel values in [0, 1]. `ssim` uses 11 x 11 Gaussian windows (Wang et al. 2004).
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
    """Return the angle between the judge's estimate and the requested gaze, [N] in degrees.

    Args:
        seen_deg: [N, 2] gazes that the judge estimates, (pitch, yaw) in degrees.
        wanted_deg: [N, 2] requested gazes, in the same format as `seen_deg`.
    """
    return angular_error_deg(seen_deg, wanted_deg)


def outside_irises(
    source_deg: NDArray[np.float32],
    target_deg: NDArray[np.float32],
    *,
    conventions: Conventions,
) -> NDArray[np.bool_]:
    """Return a mask [N, H, W] of the pixels that are outside both irises.

    These are the iris of the source and the iris of the target.

    The irises are drawn as in the gazemap, and enlarged by four pixels on all sides.

    Args:
        source_deg: [N, 2] source gazes, (pitch, yaw) in degrees.
        target_deg: [N, 2] target gazes, in the same format as `source_deg`.
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
    """Return the mean absolute change of the source inside a mask, [N].

    The change refers to pixel values in [0, 1].

    If the mask comes from `outside_irises`, a copy of the source has the result 0. The real target
    has a higher result, because lids, light and head change between two photographs. The result of
    a good method is between these two values.

    Args:
        where: mask [N, H, W]. The mask must contain at least one pixel in each picture.
        made: redirected pictures [N, H, W, 3] float32 in [0, 1].
        source: source pictures, in the same format as `made`.
    """
    change = np.abs(made.astype(np.float64) - source).mean(axis=-1)  # [N, H, W]
    return np.sum(change * where, axis=(1, 2)) / np.sum(where, axis=(1, 2))


@dataclass(frozen=True)
class Metric:
    """How a metric is displayed and compared.

    Attributes:
        title: title of the column in tables.
        form: format specification of the values.
        better: whether lower or higher values are better. `None` if neither is better. The value of
            the real target is then the reference.
        over: `pair` if the metric is computed for each pair, `set` if it is computed for the set of
            all pictures.
        meaning: definition of the metric, with the unit of its values.
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
"""Metric -> its description, in the order of the tables.

ST-LPIPS, FD-VGG and KD-VGG are used to decide between methods. The last two metrics use Keras'
InceptionV3. Published FIDs use another port of Inception. Do not compare these metrics with them.
"""


def multiply_accumulates(model: keras.Model) -> float:
    """Return the number of multiply-accumulates of a model for one example.

    TensorFlow's profiler counts the floating-point operations.

    Two floating-point operations count as one multiply-accumulate. Operations of activations and
    resampling are included.
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
"""Bounds of the bins for small, medium and large shifts, in degrees. A method must be good in every
bin."""

SET_METRICS = {
    "st_vgg": ("fd_vgg", "kd_vgg"),
    "keras_inception": ("fid_keras_inception", "kid_keras_inception"),
}
"""Feature network -> names of its metrics: first the Fréchet distance, then the kernel distance."""

_HEAD_BINS_DEG = (-90.0, -20.0, -7.0, 7.0, 20.0, 90.0)
_FEW_HEADS = 15
"""If the pairs have at most this number of different head yaws, each yaw has its own table.

Otherwise, the yaws are grouped into bins. Data from a camera array has only a few head yaws. If
heads move freely, there are many head yaws.
"""

Table = dict[str, dict[str, float | None]]
"""Method -> metric -> value. `None` for a metric that could not be measured."""


@dataclass(frozen=True)
class PairScores:
    """Scores of several methods on P pairs.

    Attributes:
        subject: [P] name of the subject of each pair.
        shift_deg: [P] angle between source and target gaze in degrees.
        head_yaw_deg: [P] yaw of the head in degrees.
        metrics: method -> metric -> [P] value of each pair.
        features: feature network (see `SET_METRICS`) -> method or `REAL` -> [P, D] features of the
            pictures.
        absent: metric -> reason why the metric was not measured.
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
    """Return the table over all pairs.

    The table contains the means of metrics that are computed for each pair, and the distances
    between sets of pictures.
    """
    table = pair_means(scores, np.ones(len(scores.subject), bool))
    for network, features in scores.features.items():
        made = {method: features[method] for method in table}
        frechet, kernel = SET_METRICS[network]
        for method, distances in set_metrics(made, features[REAL]).items():
            table[method] |= {frechet: distances.frechet, kernel: distances.kernel}
    return {m: _in_order(row | dict.fromkeys(scores.absent)) for m, row in table.items()}


def pair_means(scores: PairScores, where: NDArray[np.bool_]) -> Table:
    """Return a table of means over the pairs that a mask [P] selects.

    Distances between sets of pictures are omitted, because such a distance is larger for smaller
    sets. Therefore a value for a subset of the pairs cannot be compared with the value for all
    pairs.
    """
    return {
        method: _in_order({name: float(np.mean(v[where])) for name, v in metrics.items()})
        for method, metrics in scores.metrics.items()
    }


def by_shift(scores: PairScores) -> dict[str, Table]:
    """Return one table for each bin of the shift in `SHIFT_BINS_DEG`."""
    return _by(scores, _bins(scores.shift_deg, SHIFT_BINS_DEG))


def by_head(scores: PairScores) -> dict[str, Table]:
    """Return one table for each head yaw. If there are many yaws, return one table for each bin."""
    yaws = np.unique(scores.head_yaw_deg)
    if len(yaws) > _FEW_HEADS:
        return _by(scores, _bins(scores.head_yaw_deg, _HEAD_BINS_DEG))
    # A mirrored frontal head pose has the yaw -0. Adding 0 changes -0 to 0.
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

"""Load feature networks, and compute distances between pictures from their features.

Stock LPIPS is the original LPIPS 0.1. ST-LPIPS is the shift-tolerant variant, whose weights are
part of a Python package. No package contains the weights of stock LPIPS and of InceptionV3. The
user must provide these weights. This module does not download weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import RunError
from mggr_tf.models.stlpips import (
    SLICES,
    ImageNetScaling,
    Lpips,
    Trunk,
    alex_slices,
    build_stlpips,
    convolutions,
    frozen_model,
    heads_of,
    vgg_slices,
)
from mggr_tf.models.torch_weights import read_state_dict

_INCEPTION_SIZE_PX = 299


def read_lpips(files: Sequence[Path]) -> Lpips:
    """Read stock LPIPS 0.1 from PyTorch state dicts.

    Both serialization formats of PyTorch are accepted.

    Args:
        files: two files in any order. One file contains the weights of torchvision's VGG-16 or
            AlexNet. The other file contains the linear weights for this network from the package
            lpips (`weights/v0.1/vgg.pth` or `alex.pth`). One file with the state dict of
            `lpips.LPIPS(net=...)` is accepted, too, because it contains both.

    Raises:
        RunError: a file is damaged or does not contain these weights.
    """
    state = {name: value for file in files for name, value in read_state_dict(file).items()}
    names = " + ".join(map(str, files))
    weights = convolutions(state)
    trunk: Trunk = "alex" if len(weights) == len(SLICES["alex"]) else "vgg"
    image = keras.Input((None, None, 3), name="image")
    scaled = ImageNetScaling(name="scaling")(image)
    slices = (
        vgg_slices(scaled, pool=_max_pool)
        if trunk == "vgg"
        else alex_slices(_alex_stem(scaled), pool=_max_pool)
    )
    try:
        features = frozen_model(image, dict(zip(SLICES[trunk], slices, strict=True)), weights)
        lpips = Lpips(features, heads_of(state, trunk))
        lpips(*tf.zeros([2, 1, 64, 64, 3]))
    except (KeyError, ValueError, tf.errors.InvalidArgumentError) as error:
        raise RunError(
            f"{names}: not LPIPS weights; expected torchvision's vgg16 or alexnet, and the linear "
            "weights of the package lpips for the same network",
            code="lpips-weights-wrong",
            files=names,
        ) from error
    return lpips


def read_inception(file: Path) -> keras.Model:
    """Read Keras' InceptionV3 as a model that returns 2048 pooled features.

    Pictures are enlarged bilinearly to 299 x 299 pixels. Published FIDs use another network: a port
    of an older Inception. Therefore FIDs from this model can be compared with each other, but not
    with FIDs in papers.

    Args:
        file: `.h5` file with the weights from Keras, without the classification layer (`top`).

    Returns:
        model from [B, H, W, 3] in [-1, 1] to [B, 2048].

    Raises:
        RunError: the file is missing or contains other weights.
    """
    inception = keras.applications.InceptionV3(
        include_top=False,
        weights=None,
        pooling="avg",
        input_shape=(_INCEPTION_SIZE_PX, _INCEPTION_SIZE_PX, 3),
    )
    try:
        inception.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{file}: expected weights of Keras' InceptionV3 without its top (.h5): {error}",
            code="inception-weights-wrong",
            path=file,
        ) from error
    image = keras.Input((None, None, 3), name="image")
    enlarged = keras.layers.Resizing(
        _INCEPTION_SIZE_PX, _INCEPTION_SIZE_PX, interpolation="bilinear"
    )(image)
    model = keras.Model(image, inception(enlarged))
    model.trainable = False
    return model


def _max_pool(features: tf.Tensor, size: int, name: str) -> tf.Tensor:
    return keras.layers.MaxPooling2D(size, strides=2, name=name)(features)


def _alex_stem(scaled: tf.Tensor) -> tf.Tensor:
    padded = keras.layers.ZeroPadding2D(2, name="pad1")(scaled)
    return keras.layers.Conv2D(64, 11, strides=4, activation="relu", name="conv1")(padded)


REAL = "real"
"""Key of the features of the real pictures. All other keys are names of methods."""

_BATCH = 32

_POOLED_UNIT = 10.0
"""Divisor of VGG's pooled features. The divisor is about the root mean square of these features on
eyes. The cubic kernel has an offset of 1, which is meant for features of about 1, such as
Inception's. VGG's features are about ten times larger. Without the divisor, the offset would have
no effect."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkMetrics:
    """Networks that compare pictures by their features.

    If the weights of a network are missing, its attribute is `None`.

    Attributes:
        st_lpips: ST-LPIPS with VGG-16. FD-VGG and KD-VGG use the features of the last slice of this
            network.
        lpips: stock LPIPS, with weights that the user provides.
        inception: InceptionV3 with weights that the user provides. The model maps pictures [B, H,
            W, 3] in [-1, 1] to features [B, 2048].
        absent: metric -> reason why the metric cannot be measured.
    """

    st_lpips: Lpips | None = None
    lpips: Lpips | None = None
    inception: keras.Model | None = None
    absent: dict[str, str] = field(default_factory=dict)


def open_network_metrics(
    *,
    quick: bool = False,
    lpips_weights: tuple[Path, ...] = (),
    inception_weights: Path | None = None,
) -> NetworkMetrics:
    """Open the networks whose weights are available.

    Args:
        quick: whether to omit ST-LPIPS, FD-VGG and KD-VGG. These metrics take most of the time.
        lpips_weights: files for `read_lpips`. If there are no files, stock LPIPS is omitted.
        inception_weights: file for `read_inception`. `None` omits FID and KID.

    Raises:
        MissingPackageError: the package with ST-LPIPS is not installed and `quick` is false.
        RunError: a file is damaged or contains other weights.
    """
    absent: dict[str, str] = {}
    if quick:
        absent |= dict.fromkeys(("st_lpips", "fd_vgg", "kd_vgg"), "omitted by --quick")
    if not lpips_weights:
        absent["lpips"] = "no --lpips-weights"
    if inception_weights is None:
        names = ("fid_keras_inception", "kid_keras_inception")
        absent |= dict.fromkeys(names, "no --inception-weights")
    return NetworkMetrics(
        st_lpips=None if quick else build_stlpips("vgg"),
        lpips=read_lpips(lpips_weights) if lpips_weights else None,
        inception=None if inception_weights is None else read_inception(inception_weights),
        absent=absent,
    )


@dataclass(frozen=True)
class LearnedDistance:
    """Learned distances and pooled features of P pairs.

    Attributes:
        distance: method -> [P] distance of each picture to the real picture.
        pooled: method or `REAL` -> [P, C] spatial mean of the features of the last slice, divided
            by 10.
    """

    distance: dict[str, NDArray[np.float64]]
    pooled: dict[str, NDArray[np.float32]]


def compare_by(
    lpips: Lpips,
    pictures: Mapping[str, Pictures],
    real: Pictures,
    *,
    progress: Progress = no_progress,
) -> LearnedDistance:
    """Compute learned distances and pooled features in one pass over the pictures.

    The features of the real pictures are computed once for all methods. If the pictures of a method
    are the same array object as `real`, its distances are set to 0 without a computation.

    Args:
        lpips: learned distance.
        pictures: method -> [P, H, W, 3] float32 in [0, 1].
        real: real pictures [P, H, W, 3], in the same format as `pictures`.
        progress: reports the number of processed pairs.
    """
    features = tf.function(lpips.features, reduce_retracing=True)
    made = {name: value for name, value in pictures.items() if value is not real}
    distance: dict[str, list[NDArray]] = {name: [] for name in made}
    pooled: dict[str, list[NDArray]] = {name: [] for name in (*made, REAL)}
    last = list(lpips.heads)[-1]
    with progress("comparing", len(real)) as advance:
        for rows in _batches(len(real)):
            wanted = features(_signed(real[rows]))
            pooled[REAL].append(_pooled(wanted[last]))
            for name, value in made.items():
                ours = features(_signed(value[rows]))
                distance[name].append(lpips.compare(ours, wanted).numpy())
                pooled[name].append(_pooled(ours[last]))
            advance(rows.stop - rows.start)
    distances = {name: np.concatenate(parts).astype(float) for name, parts in distance.items()}
    joined = {name: np.concatenate(parts) for name, parts in pooled.items()}
    for name in pictures.keys() - made.keys():
        distances[name], joined[name] = np.zeros(len(real)), joined[REAL]
    return LearnedDistance(distances, joined)


def features_of(
    model: keras.Model,
    pictures: Mapping[str, Pictures],
    real: Pictures,
    *,
    progress: Progress = no_progress,
) -> dict[str, NDArray[np.float32]]:
    """Return the features that a model computes for the pictures of each method.

    The result is method -> [P, D]. The features of the real pictures have the key `REAL`.

    Args:
        model: model from [B, H, W, 3] in [-1, 1] to [B, D].
        pictures: method -> [P, H, W, 3] float32 in [0, 1].
        real: real pictures [P, H, W, 3], in the same format as `pictures`.
        progress: reports the number of processed pictures.
    """
    extract = tf.function(model, reduce_retracing=True)
    different = {**{n: v for n, v in pictures.items() if v is not real}, REAL: real}
    features = {}
    with progress("comparing", len(real) * len(different)) as advance:
        for name, value in different.items():
            parts = []
            for rows in _batches(len(value)):
                parts.append(extract(_signed(value[rows])).numpy())
                advance(rows.stop - rows.start)
            features[name] = np.concatenate(parts)
    return {name: features.get(name, features[REAL]) for name in (*pictures, REAL)}


def _batches(count: int) -> list[slice]:
    return [slice(i, min(i + _BATCH, count)) for i in range(0, count, _BATCH)]


def _signed(pictures: Pictures) -> tf.Tensor:
    return tf.constant(pictures * 2 - 1)


def _pooled(slice_features: tf.Tensor) -> NDArray[np.float32]:
    return tf.reduce_mean(slice_features, axis=(1, 2)).numpy() / _POOLED_UNIT

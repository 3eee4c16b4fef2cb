"""Feature networks that metrics use, with the weights that packages ship.

No package carries these weights, and nothing here downloads them.
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
    """Stock LPIPS 0.1 from state dicts of PyTorch, in either serialisation.

    Args:
        files: torchvision's VGG-16 or AlexNet and the package lpips' linear weights
            for it (`weights/v0.1/vgg.pth` or `alex.pth`), in any order; or a single
            file with the state dict of `lpips.LPIPS(net=...)`, which holds both.

    Raises:
        RunError: they are damaged, or not these weights.
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
            f"{names}: not the weights of LPIPS; expected torchvision's vgg16 or alexnet "
            "and the linear weights that the package lpips has for it"
        ) from error
    return lpips


def read_inception(file: Path) -> keras.Model:
    """Keras' InceptionV3 up to its 2048 pooled features.

    Pictures are enlarged to 299 x 299, bilinearly. This is not the network of
    published FIDs, a port of an older Inception: numbers compare with each other,
    not with papers.

    Args:
        file: Keras' weights without the top, `.h5`.

    Returns:
        model of [B, H, W, 3] in [-1, 1] to [B, 2048].

    Raises:
        RunError: the file is missing, or holds other weights.
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
            f"{file}: no weights of Keras' InceptionV3 without its top (.h5): {error}"
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
"""Whose features stand beside the methods' own."""

_BATCH = 32

_POOLED_UNIT = 10.0
"""What VGG's pooled features are divided by: about their root mean square on eyes. The cubic
kernel has its offset of 1 for features near 1, as Inception's are; ten times larger ones
would leave only the cube of their length."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkMetrics:
    """What compares pictures by features.

    Attributes:
        st_lpips: ST-LPIPS on VGG-16; its last slice gives FD-VGG and KD-VGG.
        lpips: stock LPIPS, with weights of the user's own.
        inception: model of [B, H, W, 3] in [-1, 1] to [B, 2048]; likewise.
        absent: metric -> why it cannot be measured. Such a metric has no number.
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
    """Opens the networks that there are weights for.

    Args:
        quick: leave out ST-LPIPS, FD-VGG and KD-VGG, which take longest.
        lpips_weights: see `stock.read_lpips`; none for no stock LPIPS.
        inception_weights: see `stock.read_inception`.

    Raises:
        MissingPackageError: the wheel with ST-LPIPS is not installed, and not `quick`.
        RunError: weights that are no such weights.
    """
    absent: dict[str, str] = {}
    if quick:
        absent |= dict.fromkeys(("st_lpips", "fd_vgg", "kd_vgg"), "left out by --quick")
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
    """What a learned distance says.

    Attributes:
        distance: method -> [P], to the real picture.
        pooled: method, and `REAL` -> [P, C], a tenth of the last slice's spatial mean.
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
    """Learned distances and pooled features in one pass over the pictures.

    The real picture's features are computed once for all methods; a method whose
    pictures are the very array `real` costs nothing.

    Args:
        pictures: method -> [P, H, W, 3] float32 in [0, 1].
        real: [P, H, W, 3] alike.
        progress: shown the pairs that are done.
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
    """A model's features of each method's pictures, and of the `REAL` ones: [P, D] each.

    Arguments are those of `compare_by`.
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

"""Shift-tolerant LPIPS: a learned distance between pictures [1, 2].

Both pictures go through a frozen ImageNet network; at five depths their features
are scaled to unit length per pixel, and the squared differences are weighted per
channel, summed, averaged over the picture and added up:

    d(a, b) = sum over slices l of  mean over pixels of  w_l . (a_l - b_l)^2

Networks and weights w come from the wheel `stlpips_pytorch` (BSD-2), which is
looked up and never imported, as its code needs PyTorch. The networks are AlexNet
and VGG-16 in which what strides is blurred first [3], with a wide reflected
border, so that a shift of a pixel changes little.

Two networks, two uses, never mixed: **AlexNet for losses, VGG for the metric that
decides**. A network that was trained against what scores it would score itself.

References:
    [1] Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018.
    [2] Ghildyal, Liu, Shift-tolerant Perceptual Similarity Metric, ECCV 2022.
    [3] Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_tf.models.stlpips_layers import (
    BlurPool,
    ImageNetScaling,
    PixelSquares,
    on_squares,
)
from mggr_tf.models.torch_weights import packaged_state_dict

Trunk = Literal["alex", "vgg"]
StateDict = Mapping[str, NDArray[Any]]
Features = dict[str, tf.Tensor]
Heads = dict[str, NDArray[np.float32]]

_PACKAGE = "stlpips_pytorch"
_WEIGHTS = "weights/vST0.0/{}_shift_tolerant.pth"

SLICES: dict[Trunk, tuple[str, ...]] = {
    "alex": ("relu1", "relu2", "relu3", "relu4", "relu5"),
    "vgg": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
}
"""Outputs of each network, from fine to coarse."""

_VGG_BLOCKS = (2, 2, 3, 3, 3)
_EPSILON = 1e-8
"""Squared length below which features count as none; see `unit_length`."""


@dataclass(frozen=True)
class Lpips:
    """A learned distance.

    Attributes:
        features: model of [B, H, W, 3] in [-1, 1] to a dict of [B, h, w, C], from fine to coarse.
        heads: slice -> [C] weights, none negative.
    """

    features: keras.Model
    heads: Heads

    def __call__(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Distances [B] between two batches [B, H, W, 3] in [-1, 1]."""
        return self.compare(self.features(a, training=False), self.features(b, training=False))

    def compare(self, features_a: Features, features_b: Features) -> tf.Tensor:
        """The same of features that are at hand already."""
        return feature_distance(features_a, features_b, self.heads)


def build_stlpips(trunk: Trunk = "vgg") -> Lpips:
    """ST-LPIPS as its authors compute it (`LPIPS(net=trunk, variant="shift_tolerant")`).

    Raises:
        MissingPackageError: the wheel with the weights is not installed.
        RunError: its weights are damaged.
    """
    return Lpips(build_features(trunk), wheel_heads(trunk))


def build_features(trunk: Trunk) -> keras.Model:
    """The shift-tolerant network alone, frozen.

    Returns:
        model of [B, H, W, 3] in [-1, 1] to a dict of the `SLICES`.

    Raises:
        MissingPackageError, RunError: see `build_stlpips`.
    """
    weights = convolutions(wheel_weights(trunk))
    image = keras.Input((None, None, 3), name="image")
    scaled = ImageNetScaling(name="scaling")(image)
    slices = vgg_slices(scaled) if trunk == "vgg" else alex_slices(_alex_stem(scaled))
    return frozen_model(image, dict(zip(SLICES[trunk], slices, strict=True)), weights)


def build_alex_features(levels: int = 3) -> keras.Model:
    """The first slices of AlexNet, cheap enough for a training loss.

    The first convolution (11 x 11) and the blur that halves its output are both
    linear, so they are composed into one 13 x 13 convolution of stride 2, computed as one
    of 7 x 7 on squares of 2 x 2 pixels. Away from
    the outermost ring of the first slice this is the same; there the blur would
    have reflected the convolution's output, and now reads what the convolution
    makes of a grey surround (ImageNet's mean).

    Args:
        levels: how many slices, 1 to 5; what lies deeper is not computed.

    Returns:
        model of [B, H, W, 3] in [-1, 1] to a dict of `SLICES["alex"][:levels]`.

    Raises:
        MissingPackageError, RunError: see `build_stlpips`.
    """
    names = SLICES["alex"][:levels]
    assert len(names) == levels > 0, "the config checks this"
    (kernel, bias), *deeper = convolutions(wheel_weights("alex"))
    image = keras.Input((None, None, 3), name="image")
    scaled = ImageNetScaling(name="scaling")(image)
    # Output i of the blur reads the convolution from 2 i - 2 on, and that 2 pixels before.
    squares = PixelSquares(4, name="squares1")(scaled)
    first = keras.layers.Conv2D(64, 7, activation="relu", name="conv1")(squares)
    slices = alex_slices(first)[:levels]
    weights = [(on_squares(_blurred(kernel)), bias), *deeper[: levels - 1]]
    return frozen_model(image, dict(zip(names, slices, strict=True)), weights, name="alexnet")


def alex_distance(features_a: Features, features_b: Features) -> tf.Tensor:
    """ST-LPIPS (AlexNet) between features that `build_alex_features` made.

    Args:
        features_a, features_b: the slices of [B, H, W, 3] pictures; gradients flow
            through both and are finite, even where all features are zero.

    Returns:
        [B] float32, summed over the slices that are given.
    """
    return feature_distance(features_a, features_b, wheel_heads("alex"))


def feature_distance(
    features_a: Features, features_b: Features, heads: Heads | None = None
) -> tf.Tensor:
    """LPIPS' weighted squared difference of unit-length features.

    Args:
        features_a, features_b: slice -> [B, h, w, C].
        heads: slice -> [C]; slices without features are not asked. None weights every
            channel 1: 2 - 2 cos of the angle between both features at each place.

    Returns:
        [B] float32.
    """
    return tf.add_n(
        [
            _weighted_difference(
                features,
                features_b[name],
                np.ones(features.shape[-1], np.float32) if heads is None else heads[name],
            )
            for name, features in features_a.items()
        ]
    )


def _weighted_difference(a: tf.Tensor, b: tf.Tensor, weights: NDArray[np.float32]) -> tf.Tensor:
    difference = tf.math.squared_difference(unit_length(a), unit_length(b))
    head = tf.constant(weights, difference.dtype)
    return tf.reduce_mean(tf.tensordot(difference, head, axes=1), axis=(1, 2))


def unit_length(features: tf.Tensor) -> tf.Tensor:
    """Scales every pixel's features to unit length; none stay none.

    LPIPS divides by the length plus 1e-10, whose gradient at zero is not a number.
    A floor under the squared length changes no length above 1e-4, a hundredth of what
    the flattest pictures have, and bounds the gradient by 1e4.
    """
    return tf.math.l2_normalize(features, axis=-1, epsilon=_EPSILON)


@lru_cache
def wheel_heads(trunk: Trunk) -> Heads:
    """The weights per channel that the wheel carries; raises as `wheel_weights`."""
    return heads_of(wheel_weights(trunk), trunk)


def wheel_weights(trunk: Trunk) -> StateDict:
    """The state dict that the wheel carries.

    Raises:
        MissingPackageError: `stlpips_pytorch` is not installed.
        RunError: its file is missing or damaged.
    """
    return packaged_state_dict(_PACKAGE, _WEIGHTS.format(trunk))


def convolutions(state: StateDict) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels [kh, kw, in, out] and biases of all convolutions, in the order of the file."""
    stems = [name.removesuffix("weight") for name in state if name.endswith(".weight")]
    return [
        (state[f"{stem}weight"].transpose(2, 3, 1, 0), state[f"{stem}bias"])
        for stem in stems
        if state[f"{stem}weight"].ndim == 4 and f"{stem}bias" in state
    ]


def heads_of(state: StateDict, trunk: Trunk) -> Heads:
    """LPIPS' weights per channel.

    Raises:
        KeyError: `state` has none for a slice.
    """
    return {name: state[f"lin{i}.model.1.weight"].ravel() for i, name in enumerate(SLICES[trunk])}


Pool = Callable[[tf.Tensor, int, str], tf.Tensor]


def blurred_max(features: tf.Tensor, size: int, name: str) -> tf.Tensor:
    """Max pooling in the shift-tolerant networks: it strides after a blur."""
    densely = keras.layers.MaxPooling2D(size, strides=1, name=f"{name}_max")(features)
    return BlurPool(name=name)(densely)


def vgg_slices(scaled: tf.Tensor, *, pool: Pool = blurred_max) -> list[tf.Tensor]:
    """VGG-16 up to its last ReLU: the last of each block of convolutions."""
    slices: list[tf.Tensor] = []
    features, width = scaled, 64
    for block, depth in enumerate(_VGG_BLOCKS, start=1):
        if slices:
            features = pool(features, 2, f"pool{block}")
        for i in range(1, depth + 1):
            features = _convolution(features, width, 3, f"conv{block}_{i}")
        slices.append(features)
        width = min(2 * width, 512)
    return slices


def alex_slices(first: tf.Tensor, *, pool: Pool = blurred_max) -> list[tf.Tensor]:
    """AlexNet's five ReLUs, given the first."""
    second = _convolution(pool(first, 3, "pool2"), 192, 5, "conv2")
    third = _convolution(pool(second, 3, "pool3"), 384, 3, "conv3")
    fourth = _convolution(third, 256, 3, "conv4")
    return [first, second, third, fourth, _convolution(fourth, 256, 3, "conv5")]


def _alex_stem(scaled: tf.Tensor) -> tf.Tensor:
    padded = keras.layers.ZeroPadding2D(2, name="pad1")(scaled)
    densely = keras.layers.Conv2D(64, 11, name="conv1")(padded)
    return keras.layers.ReLU(name="relu1")(BlurPool(name="pool1")(densely))


def _convolution(features: tf.Tensor, width: int, size: int, name: str) -> tf.Tensor:
    layer = keras.layers.Conv2D(width, size, padding="same", activation="relu", name=name)
    return layer(features)


def _blurred(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel [k, k, in, out] that convolves and then blurs, [k + 2, k + 2, in, out]."""
    size = len(kernel)
    blurred = np.zeros((size + 2, size + 2, *kernel.shape[2:]), np.float32)
    for (row, column), weight in np.ndenumerate(np.outer((1, 2, 1), (1, 2, 1)) / 16):
        blurred[row : row + size, column : column + size] += np.float32(weight) * kernel
    return blurred


def frozen_model(
    image: tf.Tensor,
    slices: Features,
    weights: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    *,
    name: str | None = None,
) -> keras.Model:
    """A model whose convolutions have these weights, in order, and are not trained.

    Raises:
        ValueError: they do not fit.
    """
    model = keras.Model(image, slices, name=name)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, pair in zip(layers, weights, strict=True):
        layer.set_weights(pair)
    model.trainable = False
    return model

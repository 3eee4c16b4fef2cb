"""Compute shift-tolerant LPIPS (ST-LPIPS), a learned distance between two images [1, 2].

A frozen ImageNet network computes the features of both images at five depths, the slices. At each
pixel, the features are scaled to unit length. The distance is the squared difference of the
features, weighted per channel. This difference is summed over the channels, averaged over the
pixels, and summed over the slices:

    d(a, b) = sum over slices l of  mean over pixels of  w_l . (a_l - b_l)^2

The networks and the weights w are from the wheel `stlpips_pytorch` (BSD-2). The wheel must be
installed, but this module does not import it, because its code needs PyTorch. The networks are
AlexNet and VGG-16 with one change: before every strided layer, there is a blur [3] with
wide mirror padding. A shift by one pixel therefore changes the distance only a little.

The two networks have different uses: **AlexNet for losses, VGG for the metric that compares
redirectors**. If losses and metric used the same network, the redirector would be trained to
improve its own score.

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
"""The outputs of each network, from fine to coarse."""

_VGG_BLOCKS = (2, 2, 3, 3, 3)
_EPSILON = 1e-8
"""The lower limit of the squared length of features. See `unit_length`."""


@dataclass(frozen=True)
class Lpips:
    """A learned distance between images.

    Attributes:
        features: model with the input [B, H, W, 3] in [-1, 1]. It returns a dict of features [B, h,
            w, C], from fine to coarse.
        heads: slice -> [C] weights of the channels. All weights are at least 0.
    """

    features: keras.Model
    heads: Heads

    def __call__(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Return the distances [B] between two batches [B, H, W, 3] in [-1, 1]."""
        return self.compare(self.features(a, training=False), self.features(b, training=False))

    def compare(self, features_a: Features, features_b: Features) -> tf.Tensor:
        """Return the distances [B] between features that the caller has computed."""
        return feature_distance(features_a, features_b, self.heads)


def build_stlpips(trunk: Trunk = "vgg") -> Lpips:
    """Build ST-LPIPS with one of the two networks.

    In the authors' code, the same distance is `LPIPS(net=trunk, variant="shift_tolerant")`.

    Raises:
        MissingPackageError: the wheel with the weights is not installed.
        RunError: the weights are damaged.
    """
    return Lpips(build_features(trunk), wheel_heads(trunk))


def build_features(trunk: Trunk) -> keras.Model:
    """Build only the shift-tolerant feature network, with frozen weights.

    Returns:
        model with the input [B, H, W, 3] in [-1, 1]. Its output is a dict with the keys
        `SLICES[trunk]`.

    Raises:
        MissingPackageError, RunError: see `build_stlpips`.
    """
    weights = convolutions(wheel_weights(trunk))
    image = keras.Input((None, None, 3), name="image")
    scaled = ImageNetScaling(name="scaling")(image)
    slices = vgg_slices(scaled) if trunk == "vgg" else alex_slices(_alex_stem(scaled))
    return frozen_model(image, dict(zip(SLICES[trunk], slices, strict=True)), weights)


def build_alex_features(levels: int = 3) -> keras.Model:
    """Build the first slices of AlexNet in a version that is fast enough for a training loss.

    The first convolution (11 x 11) and the following blur, which halves the resolution, are linear.
    Therefore this version combines them into one 13 x 13 convolution of stride 2. This convolution
    is computed as a 7 x 7 convolution on squares of 2 x 2 pixels.

    The features differ from those of `build_features` only because of the outermost ring of pixels
    in the first slice. For this ring, the original blur reflects the output of the convolution.
    This version uses the output of the convolution for a grey border (the mean colour of ImageNet).

    Args:
        levels: number of slices, 1 to 5. Deeper layers are not computed.

    Returns:
        model with the input [B, H, W, 3] in [-1, 1]. Its output is a dict with the keys
        `SLICES["alex"][:levels]`.

    Raises:
        MissingPackageError, RunError: see `build_stlpips`.
    """
    names = SLICES["alex"][:levels]
    assert len(names) == levels > 0, "the config checks this"
    (kernel, bias), *deeper = convolutions(wheel_weights("alex"))
    image = keras.Input((None, None, 3), name="image")
    scaled = ImageNetScaling(name="scaling")(image)
    # Output i of the blur starts at output 2 i - 2 of the convolution, which itself starts 2 pixels
    # before the image. Together, the border is 4 pixels wide.
    squares = PixelSquares(4, name="squares1")(scaled)
    first = keras.layers.Conv2D(64, 7, activation="relu", name="conv1")(squares)
    slices = alex_slices(first)[:levels]
    weights = [(on_squares(_blurred(kernel)), bias), *deeper[: levels - 1]]
    return frozen_model(image, dict(zip(names, slices, strict=True)), weights, name="alexnet")


def alex_distance(features_a: Features, features_b: Features) -> tf.Tensor:
    """Return the ST-LPIPS distance (AlexNet) between features of `build_alex_features`.

    Args:
        features_a, features_b: slices of images [B, H, W, 3]. The distance has gradients with
            respect to both arguments. The gradients are finite, even if all features are zero.

    Returns:
        [B] float32, summed over the given slices.
    """
    return feature_distance(features_a, features_b, wheel_heads("alex"))


def feature_distance(
    features_a: Features, features_b: Features, heads: Heads | None = None
) -> tf.Tensor:
    """Return the weighted squared difference between unit-length features, as in LPIPS.

    Args:
        features_a, features_b: slice -> features [B, h, w, C].
        heads: slice -> weights [C] of the channels. Weights of slices without features are ignored.
            With `None`, every channel has the weight 1. The distance at each pixel is then 2 - 2
            cos(a), where a is the angle between the two feature vectors.

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
    """Scale the features of every pixel to unit length. Zero features stay zero.

    LPIPS divides by (length + 1e-10). The gradient of that length is NaN for zero features. This
    function uses a lower limit of the squared length instead. The limit has no effect on lengths
    above 1e-4. The smallest lengths are about 1e-2, in images with almost no structure. The limit
    also keeps the gradient at or below 1e4.
    """
    return tf.math.l2_normalize(features, axis=-1, epsilon=_EPSILON)


@lru_cache
def wheel_heads(trunk: Trunk) -> Heads:
    """Return the channel weights from the wheel. For errors, see `wheel_weights`."""
    return heads_of(wheel_weights(trunk), trunk)


def wheel_weights(trunk: Trunk) -> StateDict:
    """Return the state dict (the weights by name) from the wheel.

    Raises:
        MissingPackageError: `stlpips_pytorch` is not installed.
        RunError: the file in the wheel is missing or damaged.
    """
    return packaged_state_dict(_PACKAGE, _WEIGHTS.format(trunk))


def convolutions(state: StateDict) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernels [kh, kw, in, out] and biases of all convolutions, in the order of the file."""
    stems = [name.removesuffix("weight") for name in state if name.endswith(".weight")]
    return [
        (state[f"{stem}weight"].transpose(2, 3, 1, 0), state[f"{stem}bias"])
        for stem in stems
        if state[f"{stem}weight"].ndim == 4 and f"{stem}bias" in state
    ]


def heads_of(state: StateDict, trunk: Trunk) -> Heads:
    """Return the channel weights of LPIPS for each slice.

    Raises:
        KeyError: `state` contains no weights for a slice.
    """
    return {name: state[f"lin{i}.model.1.weight"].ravel() for i, name in enumerate(SLICES[trunk])}


Pool = Callable[[tf.Tensor, int, str], tf.Tensor]


def blurred_max(features: tf.Tensor, size: int, name: str) -> tf.Tensor:
    """Apply the max pooling of shift-tolerant networks.

    This pooling consists of a max pooling with stride 1, and a strided blur.
    """
    densely = keras.layers.MaxPooling2D(size, strides=1, name=f"{name}_max")(features)
    return BlurPool(name=name)(densely)


def vgg_slices(scaled: tf.Tensor, *, pool: Pool = blurred_max) -> list[tf.Tensor]:
    """Build VGG-16 up to its last ReLU. Return the output of the last ReLU of each block."""
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
    """Build the layers of AlexNet after its first ReLU. Return the outputs of all five ReLUs."""
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
    """Combine a kernel [k, k, in, out] and the blur after it into one kernel.

    The result is [k + 2, k + 2, in, out].
    """
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
    """Build a frozen model. Its convolutions get `weights` in the order of the layers.

    Raises:
        ValueError: the number or the shapes of the weights do not match the model.
    """
    model = keras.Model(image, slices, name=name)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, pair in zip(layers, weights, strict=True):
        layer.set_weights(pair)
    model.trainable = False
    return model

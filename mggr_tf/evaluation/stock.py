"""LPIPS and Inception as published, for users who have their weights.

No package carries these weights, and nothing here downloads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from mggr_edge.errors import RunError
from mggr_tf.models.stlpips import (
    SLICES,
    ImageNetScaling,
    Lpips,
    Trunk,
    alex_slices,
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

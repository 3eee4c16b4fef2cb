"""PRGAN [1], a rival: one generator paints the whole picture.

    redirected = generator(eye, numbers tiled over the picture)
    flow = 0, coarse = eye, residual = redirected - eye

A 7 x 7 convolution, two strided ones, residual blocks, two transposed ones and a
7 x 7 to RGB, with instance normalisation, as in the authors' published code. At
width 64 and 6 blocks it has their 8.42 M parameters and 2.45 GMAC.

They tile the target's angles; here the tiled numbers are the angle difference
and the head pose, the inputs of every method.

References:
    [1] He, Spurr, Zhang, Hilliges, Photo-Realistic Monocular Gaze Redirection Using
        Generative Adversarial Networks, ICCV 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import GeneratorSize
from mggr_tf.models.blocks import AddAndClip, Zeros
from mggr_tf.models.inputs import condition_of, redirector_inputs
from mggr_tf.models.precision import EXACT

_DOWN = 2
"""Strided layers, and transposed ones to match."""


def build_generator(size: GeneratorSize, *, size_px: int, guidance: Iterable[str]) -> keras.Model:
    """Builds the generator.

    Returns:
        model of the redirector's inputs; output a picture [B, H, W, 3] in [-1, 1].
    """
    inputs = redirector_inputs(size_px)
    numbers = condition_of(inputs, guidance)
    assert numbers is not None, "PRGAN is guided by numbers"
    tiled = keras.layers.Reshape((size_px, size_px, numbers.shape[-1]), name="tiled")(
        keras.layers.RepeatVector(size_px * size_px, name="everywhere")(numbers)
    )
    features = keras.layers.Concatenate(name="guided_eye")([inputs["eye"], tiled])
    features = _normalised(_convolution(size.width, 7, name="first")(features), "first")
    width = size.width
    for level in range(_DOWN):
        width *= 2
        features = _convolution(width, 4, stride=2, name=f"down{level}")(features)
        features = _normalised(features, f"down{level}")
    for block in range(size.blocks):
        inner = _convolution(width, 3, name=f"block{block}_a")(features)
        inner = _normalised(inner, f"block{block}_a")
        inner = _convolution(width, 3, name=f"block{block}_b")(inner)
        inner = _normalised(inner, f"block{block}_b", activation=False)
        features = keras.layers.Add(name=f"block{block}_add")([features, inner])
    for level in range(_DOWN):
        width //= 2
        features = keras.layers.Conv2DTranspose(
            width, 4, strides=2, padding="same", use_bias=False, name=f"up{level}"
        )(features)
        features = _normalised(features, f"up{level}")
    picture = _convolution(3, 7, name="to_rgb", dtype=EXACT)(features)
    picture = keras.layers.Activation("tanh", dtype=EXACT, name="picture")(picture)
    return keras.Model(inputs, picture, name="generator")


def build_prgan(generator: keras.Model, *, size_px: int) -> keras.Model:
    """The generator with the inputs and outputs of MGGR's redirector."""
    inputs = redirector_inputs(size_px)
    eye = inputs["eye"]
    residual = keras.layers.Subtract(name="residual")([generator(inputs), eye])
    redirected = AddAndClip(name="redirected")([eye, residual])
    flow = Zeros(2, name="no_flow")(eye)
    return keras.Model(
        inputs,
        {"flow": flow, "coarse": eye, "residual": residual, "redirected": redirected},
        name="redirector",
    )


def _convolution(
    width: int, size: int, *, name: str, stride: int = 1, dtype: str | None = None
) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        width, size, strides=stride, padding="same", use_bias=False, dtype=dtype, name=name
    )


def _normalised(features: tf.Tensor, name: str, *, activation: bool = True) -> tf.Tensor:
    # One group a channel is instance normalisation; Keras would take its moments in bfloat16.
    features = keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, dtype=EXACT, name=f"{name}_norm"
    )(features)
    return keras.layers.ReLU(name=f"{name}_relu")(features) if activation else features

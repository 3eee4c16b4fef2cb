"""Build the networks of the baseline methods: DeepWarp [1] and PRGAN [2].

Both methods change the gaze of an eye image. DeepWarp:

    flow       = coarse flow + fine flow(eye, eye warped by the coarse flow, coarse flow)
    coarse     = eye warped by flow
    residual   = m (1 - coarse), m in [0, 1] per pixel: a blend towards white
    redirected = clip(coarse + residual, -1, 1)

DeepWarp in the paper also has maps of the distances to eye landmarks as inputs. These maps contain
the position of each pixel relative to the eye. In this project, eye landmarks determine the crop of
a patch. The position of a pixel in the patch therefore already contains this information.

The config sets the size of the networks. With the small size for the device, both networks of
DeepWarp are encoder-decoders with modulation, as in MGGR (`trunk.encoder_decoder`). DeepWarp and
MGGR then differ in their method, but not in their layers. With the size in the paper, both networks
of DeepWarp are stacks of convolutions, and the angles are repeated at every pixel (`trunk.stack`).

PRGAN:

    redirected = generator(eye, numbers tiled over the image)
    flow = 0, coarse = eye, residual = redirected - eye

The generator has the layers of the authors' published code. Its layers are: a 7 x 7 convolution,
two strided convolutions, residual blocks, two transposed convolutions, and a 7 x 7 convolution to
RGB. The generator uses instance normalisation. With a width of 64 and 6 blocks, the generator has
8.42 M parameters and 2.45 GMAC, like the published generator.

In the authors' code, the tiled numbers are the angles of the target. Here, the tiled numbers are
the angle difference and the head pose, because all methods in this project have these inputs.

References:
    [1] Ganin, Kononenko, Sungatullina, Lempitsky, DeepWarp, ECCV 2016.
    [2] He, Spurr, Zhang, Hilliges, Photo-Realistic Monocular Gaze Redirection Using Generative
        Adversarial Networks, ICCV 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, GeneratorSize, StackSize
from mggr_tf.models.blocks import AddAndClip, Lighten, ZeroOutput
from mggr_tf.models.precision import EXACT
from mggr_tf.models.trunk import (
    FLOW_UNIT_PX,
    condition_of,
    flow_head,
    guided_picture,
    redirector_inputs,
    trunk,
)
from mggr_tf.models.warp import BackwardWarp, Interpolation

_DARK = -4.0
"""The bias of the blend logit before training. With this bias, the image is blended by 2 % towards
white."""


def build_fine_warp(
    size: BranchSize | StackSize, *, size_px: int, guidance: Iterable[str]
) -> keras.Model:
    """Build the fine module of DeepWarp.

    Args:
        size: size of the module.
        size_px: height and width of the patch.
        guidance: names of the conditioning inputs that the module uses.

    Returns:
        model with the inputs of a redirector. Two additional inputs are `coarse` [B, H, W, 3] and
        `flow` [B, H, W, 2] in pixels. The output `flow` is added to the coarse flow. The output
        `lightness` [B, H, W, 1] is a logit.
    """
    guidance = tuple(guidance)
    inputs = redirector_inputs(size_px)
    inputs["coarse"] = keras.Input((size_px, size_px, 3), name="coarse")
    inputs["flow"] = keras.Input((size_px, size_px, 2), name="flow")
    seen = {
        **inputs,
        "flow": keras.layers.Rescaling(1 / FLOW_UNIT_PX, name="flow_scaled")(inputs["flow"]),
    }
    guided = guided_picture(seen, ("eye", "coarse", "flow"), guidance)
    features = trunk(guided, condition_of(inputs, guidance), size=size)
    lightness = keras.layers.Conv2D(
        1,
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(_DARK),
        dtype=EXACT,
        name="lightness_head",
    )(features)
    if size.stem_stride == 2:
        lightness = keras.layers.UpSampling2D(
            interpolation="bilinear", dtype=EXACT, name="lightness_up"
        )(lightness)
    outputs = {"flow": flow_head(features, stem_stride=size.stem_stride), "lightness": lightness}
    return keras.Model(inputs, outputs, name="fine_warp")


def build_deepwarp(
    coarse_flow: keras.Model,
    fine_warp: keras.Model,
    *,
    size_px: int,
    interpolation: Interpolation = "bilinear",
) -> keras.Model:
    """Join both modules of DeepWarp into a model with the inputs and outputs of a redirector."""
    inputs = redirector_inputs(size_px)
    first = coarse_flow(inputs)
    roughly = BackwardWarp(interpolation, name="coarse_warp")([inputs["eye"], first])
    refined = fine_warp({**inputs, "coarse": roughly, "flow": first})
    flow = keras.layers.Add(name="flow")([first, refined["flow"]])
    coarse = BackwardWarp(interpolation, name="warp")([inputs["eye"], flow])
    residual = Lighten(name="lighten")([coarse, refined["lightness"]])
    redirected = AddAndClip(name="redirected")([coarse, residual])
    return keras.Model(
        inputs,
        {"flow": flow, "coarse": coarse, "residual": residual, "redirected": redirected},
        name="redirector",
    )


_DOWN = 2
"""The number of strided convolutions, and also the number of transposed convolutions."""


def build_generator(size: GeneratorSize, *, size_px: int, guidance: Iterable[str]) -> keras.Model:
    """Build the generator of PRGAN.

    Args:
        size: size of the generator.
        size_px: height and width of the patch.
        guidance: names of the conditioning inputs that the generator uses.

    Returns:
        model with the inputs of a redirector. Its output is an image [B, H, W, 3] in [-1, 1].
    """
    inputs = redirector_inputs(size_px)
    numbers = condition_of(inputs, guidance)
    assert numbers is not None, "PRGAN needs 'delta' or 'head_pose' as an input"
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
    """Put the generator into a model with the inputs and outputs of a redirector."""
    inputs = redirector_inputs(size_px)
    eye = inputs["eye"]
    residual = keras.layers.Subtract(name="residual")([generator(inputs), eye])
    redirected = AddAndClip(name="redirected")([eye, residual])
    flow = ZeroOutput(2, name="no_flow")(eye)
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
    # With one group per channel, the layer is an instance normalisation. Without the dtype, Keras
    # would compute the mean and the variance in bfloat16.
    features = keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, dtype=EXACT, name=f"{name}_norm"
    )(features)
    return keras.layers.ReLU(name=f"{name}_relu")(features) if activation else features

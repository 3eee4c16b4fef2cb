"""Build the networks of MGGR [1]: the coarse branch, the fine branch, and the joined redirector.

A redirector changes the gaze of an eye image:

    flow       = coarse branch(eye, gazemap, delta, head_pose)
    coarse     = eye warped by flow
    residual   = fine branch(eye, coarse, gazemap, delta, head_pose)
    redirected = clip(coarse + residual, -1, 1)

For ablations, one branch can be omitted. Without the coarse branch, the flow is zero. Without the
fine branch, the residual is zero.

The input of the coarse branch is an image with five channels: the eye and the gaze map of the
target. The angle difference and the head pose modulate (scale and shift) its features. The branch
predicts from which position each output pixel is sampled. The initial flow is a thousandth of a
pixel, almost zero. An untrained branch therefore does not change the image.

The inputs of the fine branch are the eye, the coarse image and the gaze map of the target. The
modulation is the same as in the coarse branch. The fine branch adds content that the warp cannot
produce. Examples are newly visible sclera, lashes, and the new position of the lid.

A stretched iris is a special problem. To remove it with only a residual, the branch would have to
predict the exact colour of every iris pixel. The optional gate replaces the colour and does not
need this prediction. The output layers of the residual and of the gate start at zero. An untrained
branch therefore adds nothing.

References:
    [1] MultiModal-Guided Gaze Redirection with Coarse-to-Fine Learning, arXiv 2004.03064.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import (
    EXACT,
    AddAndClip,
    DepthToSpace,
    PaintOver,
    Scale,
    ZeroOutput,
    convolution,
)
from mggr_tf.models.trunk import (
    EVERYTHING,
    condition_of,
    encoder_decoder,
    guided_picture,
    redirector_inputs,
    trunk,
)
from mggr_tf.models.warp import BackwardWarp, Interpolation

OUTPUTS = ("flow", "coarse", "residual", "redirected")
"""The names of the outputs of a redirector, for all methods."""


def build_redirector(
    coarse_branch: keras.Model | None,
    fine_branch: keras.Model | None,
    *,
    size_px: int,
    interpolation: Interpolation = "bilinear",
) -> keras.Model:
    """Join two branches into the model that is exported. The model shares their weights.

    Args:
        coarse_branch, fine_branch: branches to join. `None` omits the branch.
        size_px: height and width of the patch.
        interpolation: interpolation of the warp.

    Returns:
        model with the inputs `eye`, `gazemap`, `delta` and `head_pose`. It returns a dict of the
        `OUTPUTS`.
    """
    inputs = redirector_inputs(size_px)
    eye = inputs["eye"]
    if coarse_branch is None:
        flow, coarse = ZeroOutput(2, name="no_flow")(eye), eye
    else:
        flow = coarse_branch(inputs)
        coarse = BackwardWarp(interpolation, name="warp")([eye, flow])
    if fine_branch is None:
        residual = ZeroOutput(3, name="no_residual")(eye)
    else:
        residual = fine_branch({**inputs, "coarse": coarse})
    redirected = AddAndClip(name="redirected")([coarse, residual])
    return keras.Model(
        inputs,
        {"flow": flow, "coarse": coarse, "residual": residual, "redirected": redirected},
        name="redirector",
    )


FLOW_UNIT_PX = 4.0
"""The flow head (output layer) predicts the flow in this unit. Flows are a few pixels long. With
this unit, the weights of the head therefore stay near 1."""

_FIRST_FLOW_PX = 1e-3
"""The initial flow, in pixels. It is not exactly zero. At integer positions, `dense_image_warp` has
no gradient with respect to the flow."""


def build_coarse(
    size: BranchSize | StackSize, *, size_px: int, guidance: Iterable[str] = EVERYTHING
) -> keras.Model:
    """Build the coarse branch.

    Args:
        size: size of the branch.
        size_px: height and width of the patch.
        guidance: names of the conditioning inputs that the branch uses in addition to the eye.

    Returns:
        model with the four inputs of a redirector. Its output is the flow [B, H, W, 2], (dx, dy) in
        pixels.
    """
    guidance = tuple(guidance)
    inputs = redirector_inputs(size_px)
    guided = guided_picture(inputs, ("eye",), guidance)
    features = trunk(guided, condition_of(inputs, guidance), size=size)
    flow = flow_head(features, stem_stride=size.stem_stride)
    return keras.Model(inputs, flow, name="coarse_branch")


def flow_head(features: tf.Tensor, *, stem_stride: int) -> tf.Tensor:
    """Build the layers that predict the flow from features.

    The flow is [B, H, W, 2], in pixels of the patch.
    """
    flow = keras.layers.Conv2D(
        2,
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(_FIRST_FLOW_PX / FLOW_UNIT_PX),
        dtype=EXACT,
        name="flow_head",
    )(features)
    flow = Scale(FLOW_UNIT_PX, dtype=EXACT, name="flow_px")(flow)
    if stem_stride == 2:
        flow = keras.layers.UpSampling2D(interpolation="bilinear", dtype=EXACT, name="flow_up")(
            flow
        )
    return flow


def build_fine(
    size: BranchSize, *, size_px: int, guidance: Iterable[str] = EVERYTHING
) -> keras.Model:
    """Build the fine branch.

    Args:
        size: size of the branch.
        size_px: height and width of the patch.
        guidance: names of the conditioning inputs that the branch uses in addition to the images.

    Returns:
        model with the four inputs of a redirector and with the input `coarse` [B, H, W, 3]. Its
        output is the residual [B, H, W, 3].
    """
    guidance = tuple(guidance)
    inputs = redirector_inputs(size_px)
    inputs["coarse"] = keras.Input((size_px, size_px, 3), name="coarse")
    guided = guided_picture(inputs, ("eye", "coarse"), guidance)
    features = encoder_decoder(guided, condition_of(inputs, guidance), size=size)
    if size.detail:
        features = _detailed(features, inputs, size=size)
        stride = 1
    else:
        stride = size.stem_stride
    residual = _head(features, 3, stride=stride, name="residual")
    if size.paint:
        gate = _head(features, 1, stride=stride, name="gate")
        colour = _head(features, 3, stride=stride, name="colour", initializer="glorot_uniform")
        residual = PaintOver(dtype=EXACT, name="painted")(
            [inputs["coarse"], residual, gate, colour]
        )
    return keras.Model(inputs, residual, name="fine_branch")


def _detailed(features: tf.Tensor, inputs: dict[str, tf.Tensor], *, size: BranchSize) -> tf.Tensor:
    """Combine features of the trunk and images into features [B, H, W, detail] at full resolution.

    A warp by a fraction of a pixel blurs the image. To sharpen it, the branch needs the finest
    details of the original image. The first level of the trunk can have a stride. The stride
    removes these details. The images are therefore used again.
    """
    if size.stem_stride == 2:
        spread = keras.layers.Conv2D(4 * size.detail, 1, name="detail_spread")(features)
        features = DepthToSpace(name="detail_up")(spread)
    pictures = [inputs["coarse"], inputs["eye"]]
    features = keras.layers.Concatenate(name="detail_pictures")([features, *pictures])
    features = convolution(size.detail, name="detail")(features)
    return keras.layers.ReLU(name="detail_relu")(features)


def _head(
    features: tf.Tensor, channels: int, *, stride: int, name: str, initializer: str = "zeros"
) -> tf.Tensor:
    """Build an output layer at full resolution."""
    head = keras.layers.Conv2D(
        channels * stride**2,
        3,
        padding="same",
        kernel_initializer=initializer,
        dtype=EXACT,
        name=f"{name}_head",
    )(features)
    return DepthToSpace(dtype=EXACT, name=f"{name}_up")(head) if stride == 2 else head

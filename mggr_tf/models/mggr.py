"""Build the networks of MGGR [1]: the coarse branch, the fine branch, and the joined redirector.

A redirector changes the gaze of an eye image:

    flow       = coarse branch(eye, gazemap, delta, head_pose)
    coarse     = eye warped by flow
    residual   = fine branch(eye, coarse, gazemap, delta, head_pose)
    redirected = clip(coarse + residual, -1, 1)

For ablations, one branch can be omitted. Without the coarse branch, the flow is zero. Without the
fine branch, the residual is zero.

The input of the coarse branch is an image with five channels: the eye and the gaze map of the
target. The angle difference and the head pose modulate (scale and shift) the features of this
branch. The output of the branch is the flow: the offset of the position from which each output
pixel is sampled. Before training, the flow is a thousandth of a pixel, so the image hardly changes.

The inputs of the fine branch are the eye, the coarse image and the gaze map of the target. The
features are modulated as in the coarse branch. The fine branch adds content that the warp cannot
produce. Examples are newly visible sclera, lashes, and the new position of the lid.

A stretched iris is a special problem: a residual can remove it only by cancelling the exact colour
of every iris pixel. The optional gate (`BranchSize.paint`) instead replaces pixels of the coarse
image with a predicted colour. Before training, the outputs for the residual and the gate are zero,
so the fine branch does not change the coarse image.

References:
    [1] MultiModal-Guided Gaze Redirection with Coarse-to-Fine Learning, arXiv 2004.03064.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import EXACT, AddAndClip, PaintOver, ZeroOutput
from mggr_tf.models.trunk import (
    EVERYTHING,
    condition_of,
    detailed,
    encoder_decoder,
    flow_head,
    guided_picture,
    picture_head,
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
    """Join two branches into the model that is exported. The model shares the branches' weights.

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
        features = detailed(features, inputs, size=size)
        stride = 1
    else:
        stride = size.stem_stride
    residual = picture_head(features, 3, stride=stride, name="residual")
    if size.paint:
        gate = picture_head(features, 1, stride=stride, name="gate")
        colour = picture_head(
            features, 3, stride=stride, name="colour", initializer="glorot_uniform"
        )
        residual = PaintOver(dtype=EXACT, name="painted")(
            [inputs["coarse"], residual, gate, colour]
        )
    return keras.Model(inputs, residual, name="fine_branch")

"""Build the networks of MGGR [1]: the coarse branch, the fine branch, and the joined redirector.

A redirector changes the gaze of an eye image:

    flow            = coarse branch(eye, gazemap, delta, head_pose)
    coarse          = eye warped by flow
    residual, alpha = fine branch(eye, coarse, gazemap, delta, head_pose)
    redirected      = clip((1 - alpha) coarse + residual, -1, 1)

For ablations, one branch can be omitted. Without the coarse branch, the flow is zero. Without the
fine branch, the residual is zero. Without `BranchSize.alpha`, alpha is zero.

The input of the coarse branch is an image with five channels: the eye and the gaze map of the
target. The angle difference and the head pose modulate (scale and shift) the features of this
branch. The output of the branch is the flow: the offset of the position from which each output
pixel is sampled. Before training, the flow is a thousandth of a pixel, so the image hardly changes.

The inputs of the fine branch are the eye, the coarse image and the gaze map of the target. The
features are modulated as in the coarse branch. The fine branch adds content that the warp cannot
produce. Examples are newly visible sclera, lashes, and the new position of the lid.

A stretched iris is a special problem: a residual can remove it only by cancelling the exact colour
of every iris pixel. There are two solutions, which replace pixels of the coarse image with a
predicted colour. With `BranchSize.paint`, the network computes the difference between this colour
and the coarse image, and adds it to the residual. The patch of the network is smaller than the eye
in most frames, so fine texture of the old iris remains in the frame. With `BranchSize.alpha`, the
network returns the opacity `alpha` of the colour, and a device removes the old pixels at the
resolution of the frame. Before training, the fine branch hardly changes the coarse image: the
residual is zero, and alpha is below 0.02.

References:
    [1] MultiModal-Guided Gaze Redirection with Coarse-to-Fine Learning, arXiv 2004.03064.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import (
    OPACITY_UNIT,
    AddAndClip,
    BlendAndClip,
    Opacity,
    PaintOver,
    ZeroOutput,
)
from mggr_tf.models.precision import EXACT
from mggr_tf.models.trunk import (
    EVERYTHING,
    condition_of,
    detailed,
    encoder_decoder,
    flow_head,
    guided_picture,
    layered_flow_head,
    picture_head,
    redirector_inputs,
    trunk,
)
from mggr_tf.models.warp import BackwardWarp, Interpolation

OUTPUTS = ("flow", "coarse", "residual", "redirected")
"""The names of the outputs of a redirector, for all methods. A redirector with
`BranchSize.alpha` also has the output `alpha`."""

_TRANSPARENT = -4.0 / OPACITY_UNIT
"""The initial bias of the opacity. The opacity is then 0.018."""


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
    if isinstance(residual, dict):
        redirected = BlendAndClip(name="redirected")(
            [coarse, residual["alpha"], residual["residual"]]
        )
        outputs = {"flow": flow, "coarse": coarse, **residual, "redirected": redirected}
        return keras.Model(inputs, outputs, name="redirector")
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
    if isinstance(size, BranchSize) and size.layers == 2:
        flow = layered_flow_head(features)
    else:
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
        output is the residual [B, H, W, 3]. With `size.alpha`, the output is a dict with `residual`
        and `alpha` [B, H, W, 1].
    """
    guidance = tuple(guidance)
    inputs = redirector_inputs(size_px)
    inputs["coarse"] = keras.Input((size_px, size_px, 3), name="coarse")
    guided = guided_picture(inputs, ("eye", "coarse"), guidance)
    features = encoder_decoder(guided, condition_of(inputs, guidance), size=size)
    if size.detail:
        features = detailed(features, inputs, size=size)
        stride = 2 if size.by_blocks else 1
    else:
        stride = size.stem_stride
    if size.alpha:
        # On blocks of pixels, each output pixel reads the features of its whole block.
        kernel_size = 1 if size.by_blocks else 3
        bias = [0.0] * 3 + [_TRANSPARENT] + [0.0] * 3
        parts = picture_head(
            features, 7, stride=stride, name="picture", kernel_size=kernel_size, bias=bias
        )
        made = Opacity(dtype=EXACT, name="opacity")(parts)
        return keras.Model(inputs, made, name="fine_branch")
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

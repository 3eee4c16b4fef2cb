"""MGGR's redirector: both branches and what joins them.

    flow       = coarse branch(eye, gazemap, delta, head_pose)
    coarse     = eye warped by flow
    residual   = fine branch(eye, coarse, gazemap, delta, head_pose)
    redirected = clip(coarse + residual, -1, 1)

For ablations either branch may be left out: without the coarse one the flow is
zero, without the fine one the residual is.

References:
    [1] MultiModal-Guided Gaze Redirection with Coarse-to-Fine Learning, arXiv 2004.03064.
"""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.models.blocks import AddAndClip, Zeros
from mggr_tf.models.inputs import redirector_inputs
from mggr_tf.models.warp import BackwardWarp, Interpolation

OUTPUTS = ("flow", "coarse", "residual", "redirected")
"""What every method's redirector returns."""


def build_redirector(
    coarse_branch: keras.Model | None,
    fine_branch: keras.Model | None,
    *,
    size_px: int,
    interpolation: Interpolation = "bilinear",
) -> keras.Model:
    """Joins two branches, which it shares, into the model that is exported.

    Args:
        coarse_branch, fine_branch: None goes without.
        size_px: height and width of the patch.
        interpolation: of the warp.

    Returns:
        model of eye, gazemap, delta, head_pose; outputs a dict of the `OUTPUTS`.
    """
    inputs = redirector_inputs(size_px)
    eye = inputs["eye"]
    if coarse_branch is None:
        flow, coarse = Zeros(2, name="no_flow")(eye), eye
    else:
        flow = coarse_branch(inputs)
        coarse = BackwardWarp(interpolation, name="warp")([eye, flow])
    if fine_branch is None:
        residual = Zeros(3, name="no_residual")(eye)
    else:
        residual = fine_branch({**inputs, "coarse": coarse})
    redirected = AddAndClip(name="redirected")([coarse, residual])
    return keras.Model(
        inputs,
        {"flow": flow, "coarse": coarse, "residual": residual, "redirected": redirected},
        name="redirector",
    )

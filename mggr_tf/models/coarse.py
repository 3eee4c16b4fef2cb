"""Coarse branch: a flow field from picture, numbers and gazemap.

Reads the eye and the target's gazemap as one picture of five channels, gets
the angle difference and the head pose by modulation, and predicts where each
output pixel must be read from. The flow head starts at (a thousandth of a pixel
from) zero flow: an untrained branch is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import Scale
from mggr_tf.models.inputs import EVERYTHING, condition_of, guided_picture, redirector_inputs
from mggr_tf.models.precision import EXACT
from mggr_tf.models.trunk import trunk

FLOW_UNIT_PX = 4.0
"""Flows are a few pixels; in this unit the head's weights stay near one."""

_FIRST_FLOW_PX = 1e-3
"""Not exactly zero: at whole pixels dense_image_warp passes no gradient to the flow."""


def build_coarse(
    size: BranchSize | StackSize, *, size_px: int, guidance: Iterable[str] = EVERYTHING
) -> keras.Model:
    """Builds the branch.

    Args:
        size: the capacity.
        size_px: height and width of the patch.
        guidance: which of the inputs beside the eye it looks at.

    Returns:
        model of the four redirector inputs; output flow [B, H, W, 2], pixels, (dx, dy).
    """
    guidance = tuple(guidance)
    inputs = redirector_inputs(size_px)
    guided = guided_picture(inputs, ("eye",), guidance)
    features = trunk(guided, condition_of(inputs, guidance), size=size)
    flow = flow_head(features, stem_stride=size.stem_stride)
    return keras.Model(inputs, flow, name="coarse_branch")


def flow_head(features: tf.Tensor, *, stem_stride: int) -> tf.Tensor:
    """Features to flow, [B, H, W, 2] in pixels of the patch."""
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

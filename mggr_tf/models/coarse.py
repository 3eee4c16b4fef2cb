"""Coarse branch: a flow field from picture, numbers and gazemap.

Reads the eye and the target's gazemap as one picture of five channels, is told
the angle difference and the head pose by modulation, and predicts where each
output pixel must be read from. The flow head starts at (a thousandth of a pixel
from) zero flow: an untrained branch is the identity.
"""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.models.blocks import Scale, encoder_decoder
from mggr_tf.models.inputs import condition_of, redirector_inputs
from mggr_tf.models.size import BranchSize

_FLOW_UNIT_PX = 4.0
"""Flows are a few pixels; in this unit the head's weights stay near one."""

_FIRST_FLOW_PX = 1e-3
"""Not exactly zero: at whole pixels dense_image_warp passes no gradient to the flow."""


def build_coarse(size: BranchSize, *, size_px: int) -> keras.Model:
    """Builds the branch.

    Returns:
        model of the four redirector inputs; output flow [B, H, W, 2], pixels, (dx, dy).
    """
    inputs = redirector_inputs(size_px)
    guided = keras.layers.Concatenate(name="guided_eye")([inputs["eye"], inputs["gazemap"]])
    features = encoder_decoder(guided, condition_of(inputs), size=size)
    flow = keras.layers.Conv2D(
        2,
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(_FIRST_FLOW_PX / _FLOW_UNIT_PX),
        name="flow_head",
    )(features)
    flow = Scale(_FLOW_UNIT_PX, name="flow_px")(flow)
    if size.stem_stride == 2:
        flow = keras.layers.UpSampling2D(interpolation="bilinear", name="flow_up")(flow)
    return keras.Model(inputs, flow, name="coarse_branch")

"""Fine branch: what the warp cannot bring, added as a residual.

Reads the eye, the coarse picture and the target's gazemap, gets the numbers
by modulation, and draws what is missing: disoccluded sclera, lashes, the lid's
new place. To remove a stretched iris by adding, it would have to know that iris
pixel by pixel; a gate that paints over it need not. The heads of residual and gate
start at zero: an untrained branch adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize
from mggr_tf.models.blocks import DepthToSpace, PaintOver, convolution
from mggr_tf.models.inputs import EVERYTHING, condition_of, guided_picture, redirector_inputs
from mggr_tf.models.precision import EXACT
from mggr_tf.models.trunk import encoder_decoder


def build_fine(
    size: BranchSize, *, size_px: int, guidance: Iterable[str] = EVERYTHING
) -> keras.Model:
    """Builds the branch.

    Args:
        size: the capacity.
        size_px: height and width of the patch.
        guidance: which of the inputs beside the pictures it looks at.

    Returns:
        model of the four redirector inputs and `coarse` [B, H, W, 3]; output
        residual [B, H, W, 3].
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
    """Features [B, H, W, detail] from those of the trunk and the pictures, pixel by pixel.

    A warp at fractions of a pixel blurs; what would sharpen it again lies in the
    picture's finest scale, which the strided first level has thrown away.
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
    """A picture of some channels at full resolution."""
    head = keras.layers.Conv2D(
        channels * stride**2,
        3,
        padding="same",
        kernel_initializer=initializer,
        dtype=EXACT,
        name=f"{name}_head",
    )(features)
    return DepthToSpace(dtype=EXACT, name=f"{name}_up")(head) if stride == 2 else head

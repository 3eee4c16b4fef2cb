"""Fine branch: what the warp cannot bring, added as a residual.

Reads the eye, the coarse picture and the target's gazemap, is told the numbers
by modulation, and draws what is missing: disoccluded sclera, lashes, the lid's
new place. The residual head starts at zero: an untrained branch adds nothing.
"""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.models.blocks import DepthToSpace, encoder_decoder
from mggr_tf.models.inputs import condition_of, redirector_inputs
from mggr_tf.models.size import BranchSize


def build_fine(size: BranchSize, *, size_px: int) -> keras.Model:
    """Builds the branch.

    Returns:
        model of the four redirector inputs and `coarse` [B, H, W, 3]; output
        residual [B, H, W, 3].
    """
    inputs = redirector_inputs(size_px)
    inputs["coarse"] = keras.Input((size_px, size_px, 3), name="coarse")
    pictures = [inputs["eye"], inputs["coarse"], inputs["gazemap"]]
    guided = keras.layers.Concatenate(name="guided_eye")(pictures)
    features = encoder_decoder(guided, condition_of(inputs), size=size)
    residual = keras.layers.Conv2D(
        3 * size.stem_stride**2,
        3,
        padding="same",
        kernel_initializer="zeros",
        name="residual_head",
    )(features)
    if size.stem_stride == 2:
        residual = DepthToSpace(name="residual_up")(residual)
    return keras.Model(inputs, residual, name="fine_branch")

"""Fine branch: what the warp cannot bring, added as a residual.

Reads the eye, the coarse picture and the target's gazemap, is told the numbers
by modulation, and draws what is missing: disoccluded sclera, lashes, the lid's
new place. The residual head starts at zero: an untrained branch adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow import keras

from mggr_tf.models.blocks import DepthToSpace, encoder_decoder
from mggr_tf.models.inputs import EVERYTHING, condition_of, guided_picture, redirector_inputs
from mggr_tf.models.size import BranchSize


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

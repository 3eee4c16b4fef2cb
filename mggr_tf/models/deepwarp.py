"""DeepWarp [1], a rival: a coarse and a fine flow, and a correction of lightness.

    flow       = coarse flow + fine flow(eye, eye warped by the coarse flow, coarse flow)
    coarse     = eye warped by flow
    residual   = m (1 - coarse), m in [0, 1] per pixel: a blend towards white
    redirected = clip(coarse + residual, -1, 1)

The paper feeds maps of distances to eye landmarks, which say where on the eye a
pixel lies; patches here are cut by the same landmarks, so that a pixel's place
says it already. At the device's size both networks have this project's encoder and
decoder, and the angle enters by modulation, so that methods differ by their idea
and not by their layers; at the published size they are stacks of convolutions with
tiled angles, as the paper has them (`trunk.stack`).

References:
    [1] Ganin, Kononenko, Sungatullina, Lempitsky, DeepWarp, ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import AddAndClip, Lighten
from mggr_tf.models.coarse import FLOW_UNIT_PX, flow_head
from mggr_tf.models.inputs import condition_of, guided_picture, redirector_inputs
from mggr_tf.models.precision import EXACT
from mggr_tf.models.trunk import trunk
from mggr_tf.models.warp import BackwardWarp, Interpolation

_DARK = -4.0
"""The blend's first bias: an untrained network corrects 2 % of the lightness."""


def build_fine_warp(
    size: BranchSize | StackSize, *, size_px: int, guidance: Iterable[str]
) -> keras.Model:
    """Builds the fine module.

    Returns:
        model of the redirector's inputs, `coarse` [B, H, W, 3] and `flow`
        [B, H, W, 2] in pixels; outputs a dict of `flow`, to be added to the coarse
        one, and `lightness` [B, H, W, 1], a logit.
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
    """Joins both modules; same inputs and outputs as MGGR's redirector."""
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

"""Convert the weights of a redirector to a newer structure of its layers.

A run with `by_blocks` or `layers: 2` can start from a run without these settings. A kernel at full
resolution equals a kernel on blocks of 2 x 2 pixels in which other values are zero. The conversion
is an approximation, because the new output layer has a kernel of one block, and because channels
are omitted if the new layers are narrower. Training removes the differences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize
from mggr_tf.models.blocks import OPACITY_UNIT
from mggr_tf.models.precision import EXACT

Weights = NDArray[np.float32]

_STEEPNESS, _THRESHOLD = 4.0 / OPACITY_UNIT, 3.0 / OPACITY_UNIT
"""Conversion of the gate g of `paint` to the opacity: tanh(g) becomes sigmoid(4 g - 3). Both are
nearly 0 at g = 0 and nearly 1 at g = 2. An opacity cannot be negative."""


def upgrade(old: keras.Model, new: keras.Model, *, new_size: BranchSize) -> None:
    """Set the weights of a branch from the weights of the same branch with an older structure.

    Args:
        old: branch to copy from.
        new: branch whose weights are set.
        new_size: size of `new`. `new_size.can_start_from` must accept the size of `old`.
    """
    given = {layer.name: layer.get_weights() for layer in old.layers if layer.weights}
    for layer in new.layers:
        if layer.weights:
            layer.set_weights(_weights_of(layer, given, new_size))


def _weights_of(
    layer: keras.layers.Layer, given: dict[str, list[Weights]], size: BranchSize
) -> list[Weights]:
    last = f"decode{len(size.decoder) - 1}"
    if layer.name == last and size.by_blocks:
        kernel, bias = given[last]
        kept = _kept_features(given, size)
        return [kernel[..., kept], bias[kept]]
    if layer.name == "detail" and size.by_blocks:
        return _detail_by_blocks(given, size)
    if layer.name == "picture_head":
        return _picture_head(given, size)
    if layer.name == "flow_head" and size.layers == 2:
        return _layered(given["flow_head"], layer.get_weights())
    return given[layer.name]


def _kept_features(given: dict[str, list[Weights]], size: BranchSize) -> NDArray[np.intp]:
    """Return the channels of the decoder that the layer `detail_spread` uses most."""
    spread = given["detail_spread"][0][0, 0]  # [channels, 4 detail]
    return np.sort(np.argsort(-np.linalg.norm(spread, axis=1))[: size.decoder[-1]])


def _kept_details(given: dict[str, list[Weights]], size: BranchSize) -> NDArray[np.intp]:
    """Return the channels of the layer `detail` that the output layers use most."""
    heads = [given[f"{name}_head"][0] for name in ("residual", "gate", "colour")]
    strength = np.square(np.concatenate(heads, axis=-1)).sum(axis=(0, 1, 3))
    return np.sort(np.argsort(-strength)[: size.detail])


def _by_blocks(kernel: Weights) -> Weights:
    """Convert a kernel [3, 3, C, D] with stride 1 to a kernel [3, 3, 2, 2, C, 2, 2, D] on blocks.

    The axes are: block y, block x, then y, x and channel inside the input block, then y, x and
    channel inside the output block.
    """
    _, _, channels, outputs = kernel.shape
    made = np.zeros((3, 3, 2, 2, channels, 2, 2, outputs), np.float32)
    for out_y, out_x, tap_y, tap_x in np.ndindex(2, 2, 3, 3):
        block_y, in_y = divmod(out_y + tap_y - 1, 2)
        block_x, in_x = divmod(out_x + tap_x - 1, 2)
        made[block_y + 1, block_x + 1, in_y, in_x, :, out_y, out_x] = kernel[tap_y, tap_x]
    return made


def _detail_by_blocks(given: dict[str, list[Weights]], size: BranchSize) -> list[Weights]:
    """Combine the layers `detail_spread` and `detail` to one layer on blocks.

    At the border of the patch, the bias of `detail_spread` is not padded as before. The difference
    is small.
    """
    spread, spread_bias = given["detail_spread"]
    spread = spread[:, :, _kept_features(given, size)]
    kernel, bias = (one[..., _kept_details(given, size)] for one in given["detail"])
    detail = kernel.shape[2] - 6  # the other channels are those of two pictures
    blocks = _by_blocks(kernel)
    of_features = blocks[:, :, :, :, :detail].reshape(3, 3, 4 * detail, -1)
    coarse = blocks[:, :, :, :, detail : detail + 3].reshape(3, 3, 12, -1)
    eye = blocks[:, :, :, :, detail + 3 :].reshape(3, 3, 12, -1)
    combined = np.einsum("fc,yxco->yxfo", spread[0, 0], of_features)
    more = np.einsum("c,yxco->o", spread_bias, of_features)
    return [np.concatenate([combined, coarse, eye], axis=2), np.tile(bias, 4) + more]


def _picture_head(given: dict[str, list[Weights]], size: BranchSize) -> list[Weights]:
    """Combine the heads of the residual, the gate and the colour to one head on blocks.

    The parts of the kernels that reach beyond a block are omitted.
    """
    heads = [given[f"{name}_head"] for name in ("residual", "gate", "colour")]
    (added, added_bias), (gate, gate_bias), (colour, colour_bias) = heads
    kernel = np.concatenate([added, _STEEPNESS * gate, colour], axis=-1)
    kernel = kernel[:, :, _kept_details(given, size)]
    bias = np.concatenate([added_bias, _STEEPNESS * gate_bias - _THRESHOLD, colour_bias])
    middle = _by_blocks(kernel)[1, 1]
    return [middle.reshape(1, 1, 4 * kernel.shape[2], -1), np.tile(bias, 4)]


def _layered(old: list[Weights], new: list[Weights]) -> list[Weights]:
    """Copy a flow head to the first layer. The second layer starts without motion and hidden."""
    (old_kernel, old_bias), (kernel, bias) = old, new
    kernel, bias = np.zeros_like(kernel), bias.copy()
    kernel[..., :2], bias[:2] = old_kernel, old_bias
    bias[2:4] = 0.0
    return [kernel.astype(EXACT), bias]

"""Limits the network's residual to the colours that an eye's patch has.

The network was trained on colour photographs, so its residual has the colours of lids and skin. On
a photograph without colour (black and white, infrared, toned) it would add some.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""

_LEVELS_PER_UNIT = 127.5
"""Grey levels per unit of the network's [-1, 1]."""


def residual_in_colours_of(
    patch: NDArray[np.uint8], *, flow: NDArray[np.float32], residual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns the residual whose sum with the warped patch has the colours of the patch only.

    Args:
        patch: [H, W, 3] uint8 RGB, the network's input.
        flow: [H, W, 2] float32, backward (dx, dy) in pixels of the patch.
        residual: [H, W, 3] float32 in units of [-1, 1].

    Returns:
        [H, W, 3] float32 in the same unit; its three channels are equal for a grey patch.
    """
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    warped = cv2.remap(
        patch.astype(np.float32),
        x + flow[..., 0],
        y + flow[..., 1],
        interpolation=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    levels = limited_to_colours_of(patch, warped + _LEVELS_PER_UNIT * residual)
    return (levels - warped) / _LEVELS_PER_UNIT


def limited_to_colours_of(
    before: NDArray[np.uint8], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Limits an edited picture to the colours that it had before.

    A colour consists of its luma, the colour that a linear regression on the luma predicts (grey,
    or the tone of a toned photograph), and the deviation from that. In each channel, the deviation
    is clipped to the range that it had before: zero, where all was grey.

    Args:
        before: [H, W, 3] uint8 RGB.
        after: [H, W, 3] float32, grey levels.

    Returns:
        [H, W, 3] float32, grey levels.
    """
    old = before.astype(np.float32)
    luma, new_luma = old @ _LUMA, after @ _LUMA
    if (before == before[..., :1]).all():
        return np.repeat(new_luma[..., None], 3, axis=-1)
    middle, spread = old.mean(axis=(0, 1)), luma - luma.mean()
    variance = float(np.mean(spread**2))
    slope = np.ones(3, np.float32)
    if variance > 0:
        slope = np.mean(spread[..., None] * (old - middle), axis=(0, 1)) / variance
    deviation = old - middle - slope * spread[..., None]
    predicted = middle + slope * (new_luma - luma.mean())[..., None]
    return predicted + np.clip(
        after - predicted, deviation.min(axis=(0, 1)), deviation.max(axis=(0, 1))
    )

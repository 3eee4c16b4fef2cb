"""Exact flow in small memory: a byte for each number, as training reads it.

A code is eighths of a pixel, so codes are at most a sixteenth of a pixel off and reach 15 pixels;
what moves further, or is not seen, has a code of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PER_PIXEL = 8
UNSEEN = -128
"""Code of both numbers where the other picture does not show the point."""

_REACH = 127


def flow_codes(flow: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Codes [..., H, W, 2] int8 of flow [..., H, W, 2] in pixels where `seen` [..., H, W]."""
    codes = np.round(flow * PER_PIXEL)
    known = seen & (np.abs(codes).max(axis=-1) <= _REACH)
    return np.where(known[..., None], codes, UNSEEN).astype(np.int8)


def mirrored_codes(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Codes of the same flow between pictures flipped left to right."""
    flipped = codes[..., ::-1, :].copy()
    known = flipped[..., 0] != UNSEEN
    flipped[..., 0] = np.where(known, -flipped[..., 0], UNSEEN)
    return flipped

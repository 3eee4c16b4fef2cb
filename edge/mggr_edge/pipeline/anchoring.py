"""Holds the face still that a network shifts.

Crops follow the eye up and down, as they are laid by landmarks and landmarks sit on lids. So in
training the picture asked for shows the whole face shifted against its source, and a network learns
to shift it. In a frame the face stays where it is and the iris goes: what the flow says of the skin
round the eye is taken off everywhere (`compose.compose_eye`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_RING = 8
"""The skin that is asked: a ring of one eighth of the patch along its border."""

_EVERY = 2
"""Every second row and column is enough: flow is smooth."""


def skin_drift(flow: NDArray[np.float32]) -> tuple[float, float]:
    """How far the skin at the patch's border is shifted: the median flow of the ring.

    Args:
        flow: [h, w, 2], backward (dx, dy) in pixels of the patch.

    Returns:
        (dx, dy) in pixels of the patch, backward too: skin that goes up has a positive dy.
    """
    some = flow[::_EVERY, ::_EVERY]
    dx, dy = np.median(some[_ring(*some.shape[:2])].T.copy(), axis=1)
    return float(dx), float(dy)


@cache
def _ring(height: int, width: int) -> NDArray[np.bool_]:
    ring = np.ones((height, width), bool)
    ring[height // _RING : -(height // _RING), width // _RING : -(width // _RING)] = False
    return ring

"""Holds the face still that a network shifts.

Crops follow the eye up and down, as they are laid by landmarks and landmarks sit on lids. So in
training the picture asked for shows the whole face shifted against its source, and a network learns
to shift it. In a frame the face stays where it is and the iris goes: what the flow says of the skin
round the eye is taken off everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_RING = 8
"""The skin that is asked: a ring of one eighth of the patch along its border."""


def anchored(
    flow: NDArray[np.float32], residual: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same redirection with the skin at the patch's border at rest.

    With d the median flow of the ring, the picture that the network made is moved by d:
    flow'(e) = flow(e - d) - d and residual'(e) = residual(e - d).

    Args:
        flow: [h, w, 2], backward (dx, dy) in pixels of the patch.
        residual: [h, w, 3].
    """
    height, width = flow.shape[:2]
    ring = np.ones((height, width), bool)
    ring[height // _RING : -(height // _RING), width // _RING : -(width // _RING)] = False
    drift = np.median(flow[ring], axis=0).astype(np.float32)
    if not drift.any():
        return flow, residual
    moved = np.array([[1, 0, drift[0]], [0, 1, drift[1]]], np.float32)

    def move(field: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.warpAffine(
            field, moved, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    return move(flow) - drift, move(residual)

"""Inputs and outputs of networks as arrays, and the state of an eye.

The device calls these one eye at a time, training calls them on batches; there
is no second implementation of the scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions


def image_to_network(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [..., 3] to float32 in [-1, 1]."""
    return image.astype(np.float32) / 127.5 - 1.0


def image_from_network(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """float32 in [-1, 1] (clipped) to uint8, rounded."""
    return np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def redirector_inputs(
    images: NDArray[np.uint8],
    *,
    source_deg: ArrayLike,
    target_deg: ArrayLike,
    head_deg: ArrayLike,
    conventions: Conventions,
) -> dict[str, NDArray[np.float32]]:
    """The redirector's input tensors, for patches of the canonical side.

    Args:
        images: [B, H, W, 3] uint8.
        source_deg, target_deg, head_deg: [B, 2] degrees, (pitch, yaw).
        conventions: the scales.

    Returns:
        eye [B, H, W, 3], gazemap [B, H, W, 2], delta [B, 2], head_pose [B, 2], float32.
    """
    source = np.asarray(source_deg, np.float32)
    target = np.asarray(target_deg, np.float32)
    return {
        "eye": image_to_network(images),
        "gazemap": draw_gazemap(
            target,
            size_px=conventions.patch_size,
            k=conventions.gazemap_k,
            edge_px=conventions.gazemap_edge_px,
        ),
        "delta": (target - source) / np.asarray(conventions.delta_scale_deg, np.float32),
        "head_pose": head_to_network(head_deg, conventions),
    }


def estimator_inputs(
    images: NDArray[np.uint8], *, head_deg: ArrayLike, conventions: Conventions
) -> dict[str, NDArray[np.float32]]:
    """The estimator's input tensors: eye [B, H, W, 3] and head_pose [B, 2], float32."""
    return {"eye": image_to_network(images), "head_pose": head_to_network(head_deg, conventions)}


def gaze_from_network(gaze: NDArray[np.float32], conventions: Conventions) -> NDArray[np.float32]:
    """The estimator's output [B, 2] in degrees, (pitch, yaw)."""
    return gaze * np.asarray(conventions.gaze_scale_deg, np.float32)


def head_to_network(head_deg: ArrayLike, conventions: Conventions) -> NDArray[np.float32]:
    """Head angles [B, 2] in degrees as the networks take them."""
    return np.asarray(head_deg, np.float32) / np.float32(conventions.head_pose_scale_deg)


@dataclass(frozen=True)
class EyeState:
    """Output `state` of the estimator, for one eye.

    Attributes:
        openness: greatest distance between the lids over the distance between the corners, in
            [0, 1]. About 0.25 to 0.4 for an open eye, 0 for a closed one.
        iris_visible: part of the iris disc between the lids, in [0, 1].
        occlusion: part of the area between the lids (of a closed eye: of the lids around it) that
            something else covers, in [0, 1]: fingers, hair, a frame, glare.
    """

    openness: float
    iris_visible: float
    occlusion: float

    @classmethod
    def from_array(cls, state: ArrayLike) -> EyeState:
        """From [3] in the order of the attributes; values outside [0, 1] are clipped."""
        openness, iris_visible, occlusion = np.clip(np.asarray(state, np.float64), 0.0, 1.0)
        return cls(float(openness), float(iris_visible), float(occlusion))

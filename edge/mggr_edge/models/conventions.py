"""Conventions of the networks' inputs and outputs: crop, gazemap, angles and tensors.

Training stores the conventions in the contract of a bundle. The device reads them there. Therefore
the device code has no copy of these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mggr_edge.geometry.angles import Side
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX
from mggr_edge.geometry.gaze_map import DEFAULT_EDGE_PX, DEFAULT_K

_LARGEST_PATCH_PX = 4096
_SMALLEST, _LARGEST = 1e-3, 1e3
"""Limits of the values that are used as factors or divisors.

With values outside these limits, pictures or angles would be unusable.
"""
_LENGTHS = (
    *("crop_factor", "gazemap_k", "gazemap_edge_px"),
    *("delta_scale_deg", "head_pose_scale_deg", "gaze_scale_deg"),
)


@dataclass(frozen=True)
class Conventions:
    """The numbers that training and the device must share.

    Attributes:
        crop_factor: side of the eye crop divided by the radius of the smallest circle around the
            eye's outline.
        patch_size: side of the patch in pixels.
        gazemap_k: eyeball diameter as a fraction of the gazemap's height.
        gazemap_edge_px: width of the gazemap's soft edges in pixels.
        canonical_side: the side of the eyes with which the networks were trained. Patches of eyes
            of the other side are mirrored.
        delta_scale_deg: (pitch, yaw) in degrees that correspond to a value of 1 in the tensor
            `delta`.
        head_pose_scale_deg: head angle in degrees that corresponds to a value of 1 in the tensor
            `head_pose`.
        gaze_scale_deg: (pitch, yaw) in degrees that correspond to a value of 1 in the estimator's
            output.
        pitch_positive, yaw_positive, angle_unit, flow, image: signs and units in words, for human
            readers. Each of these fields has only one valid value.
    """

    crop_factor: float = DEFAULT_CROP_FACTOR
    patch_size: int = DEFAULT_SIZE_PX
    gazemap_k: float = DEFAULT_K
    gazemap_edge_px: float = DEFAULT_EDGE_PX
    canonical_side: Side = "right"
    delta_scale_deg: tuple[float, float] = (10.0, 15.0)
    head_pose_scale_deg: float = 30.0
    gaze_scale_deg: tuple[float, float] = (10.0, 15.0)
    pitch_positive: Literal["up"] = "up"
    yaw_positive: Literal["image right"] = "image right"
    angle_unit: Literal["degree"] = "degree"
    flow: Literal["backward (dx, dy) in patch pixels"] = "backward (dx, dy) in patch pixels"
    image: Literal["RGB in [-1, 1]"] = "RGB in [-1, 1]"

    def __post_init__(self) -> None:
        if not 1 <= self.patch_size <= _LARGEST_PATCH_PX:
            raise ValueError(
                f"patch_size is {self.patch_size} pixels, expected 1 to {_LARGEST_PATCH_PX}"
            )
        for name in _LENGTHS:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                # The form `not a <= b <= c` also rejects NaN.
                if not _SMALLEST <= one <= _LARGEST:
                    raise ValueError(f"{name} is {value}, expected {_SMALLEST:g} to {_LARGEST:g}")

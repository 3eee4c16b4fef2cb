"""Where things lie in the patch: head, eyeball and crop, by weak perspective.

Head coordinates are millimetres from the eyeball's centre, x to the image's
right (the nose, for a right eye), y up, z out of the face. The camera sees
them turned by the head pose, without the depth. The crop is the square of the
eye crop around the lids' outline as the picture shows it.

The picture is painted at `OVERSAMPLING` times its size and averaged down.
Points leave this package in patch pixels, with pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR

OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """The camera's look at one eye.

    Attributes:
        rotation: [3, 3] from head to camera axes.
        px_per_mm: scale of the patch.
        eyeball_px: (x, y) of the eyeball's centre in the patch.
        size_px: side of the patch.
    """

    rotation: NDArray[np.float64]
    px_per_mm: float
    eyeball_px: tuple[float, float]
    size_px: int

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps [N, 3] head points to [N, 2] patch pixels."""
        seen = points_mm @ self.rotation.T
        return np.asarray(self.eyeball_px) + self.px_per_mm * seen[:, :2] * [1, -1]

    def fine(self) -> View:
        """The same look at the picture as it is painted."""
        x, y = ((p + 0.5) * OVERSAMPLING - 0.5 for p in self.eyeball_px)
        return View(
            self.rotation, self.px_per_mm * OVERSAMPLING, (x, y), self.size_px * OVERSAMPLING
        )


def head_rotation(head_pose: Gaze, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """[3, 3] that turns the face's own forward, (0, 0, 1), into `unit_vectors(head_pose)`.

    Args:
        roll_deg: by which the head leans, before it turns; + lowers the image's right.
    """
    pitch, yaw = np.radians([head_pose.pitch_deg, head_pose.yaw_deg])
    sin_p, cos_p, sin_y, cos_y = np.sin(pitch), np.cos(pitch), np.sin(yaw), np.cos(yaw)
    nod = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    turn = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    roll = np.radians(roll_deg)
    lean = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return turn @ nod @ lean


def lay_crop(
    outline_mm: NDArray[np.float64],
    *,
    rotation: NDArray[np.float64],
    zoom: float,
    moved_mm: NDArray[np.float64],
    shift_px: NDArray[np.float64],
    size_px: int,
) -> View:
    """Lays the crop around the outline [N, 3].

    Args:
        rotation: [3, 3] from head to camera axes.
        zoom: eye's size against the exact crop.
        moved_mm: camera (x, y), y up, by which the crop is moved on the face.
        shift_px: (x, y) by which the crop misses, in pixels of a 64-pixel patch.
        size_px: side of the patch.
    """
    seen = (outline_mm @ rotation.T)[:, :2] * [1, -1]
    centre, radius = cv2.minEnclosingCircle(seen.astype(np.float32))
    px_per_mm = zoom * size_px / (DEFAULT_CROP_FACTOR * radius)
    middle = (size_px - 1) / 2 + np.asarray(shift_px) * size_px / 64
    x, y = middle - px_per_mm * (np.asarray(centre) + np.asarray(moved_mm) * [1, -1])
    return View(rotation, float(px_per_mm), (float(x), float(y)), size_px)

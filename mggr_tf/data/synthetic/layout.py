"""Where things lie in the patch: head, eyeball and crop, by weak perspective.

Head coordinates are millimetres from the eyeball's centre, x to the image's
right (the nose, for a right eye), y up, z out of the face. The camera sees
them turned by the head pose, without the depth. The crop is the square of the
eye crop around the outline at neutral lids, as that head pose shows it.

The picture is painted at `OVERSAMPLING` times its size and averaged down.
Points leave this package in patch pixels, with pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze
from mggr_edge.contract import DEFAULT_CROP_FACTOR
from mggr_tf.data.synthetic.subject import Camera

OVERSAMPLING = 2

Field = NDArray[np.float32]
"""A picture-sized array: [n, n] float32."""

_FACE_DEPTH_MM = 9.0
"""The skin round the eye lies about here before the eyeball's centre."""


@dataclass(frozen=True)
class View:
    """The camera's look at one eye.

    Attributes:
        rotation: [3, 3] from head to camera axes.
        px_per_mm: scale of the fine picture.
        eyeball_px: (x, y) of the eyeball's centre in the fine picture.
        size_px: side of the fine picture.
    """

    rotation: NDArray[np.float64]
    px_per_mm: float
    eyeball_px: tuple[float, float]
    size_px: int

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps [N, 3] head points to [N, 2] fine pixels."""
        seen = points_mm @ self.rotation.T
        return np.asarray(self.eyeball_px) + self.px_per_mm * seen[:, :2] * [1, -1]

    def camera_mm(self) -> tuple[Field, Field]:
        """Millimetres (x [1, n], y [n, 1]) from the eyeball's centre, in the camera's plane."""
        steps = np.arange(self.size_px, dtype=np.float32)
        x = (steps - np.float32(self.eyeball_px[0])) / np.float32(self.px_per_mm)
        y = (np.float32(self.eyeball_px[1]) - steps) / np.float32(self.px_per_mm)
        return x[None, :], y[:, None]

    def face_mm(self) -> tuple[Field, Field]:
        """Head (x, y), [n, n] each, of the face as a plane turned with the head."""
        x, y = self.camera_mm()
        # Solves the first two rows of `rotation @ (hx, hy, depth) = (x, y, .)`.
        inverse = np.linalg.inv(self.rotation[:2, :2]).astype(np.float32)
        x = x - np.float32(self.rotation[0, 2] * _FACE_DEPTH_MM)
        y = y - np.float32(self.rotation[1, 2] * _FACE_DEPTH_MM)
        return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y

    def patch_points(self, fine_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fine pixels as patch pixels."""
        return (np.asarray(fine_px) + 0.5) / OVERSAMPLING - 0.5


def head_rotation(head_pose: Gaze) -> NDArray[np.float64]:
    """[3, 3] that turns the face's own forward, (0, 0, 1), into `unit_vectors(head_pose)`."""
    pitch, yaw = np.radians([head_pose.pitch_deg, head_pose.yaw_deg])
    sin_p, cos_p, sin_y, cos_y = np.sin(pitch), np.cos(pitch), np.sin(yaw), np.cos(yaw)
    nod = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    turn = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    return turn @ nod


def lay_crop(
    neutral_outline_mm: NDArray[np.float64], *, head_pose: Gaze, camera: Camera, size_px: int
) -> View:
    """Lays the crop around the outline [N, 3] as this head pose shows it."""
    rotation = head_rotation(head_pose)
    seen = (neutral_outline_mm @ rotation.T)[:, :2] * [1, -1]
    centre, radius = cv2.minEnclosingCircle(seen.astype(np.float32))
    fine_px = size_px * OVERSAMPLING
    px_per_mm = camera.zoom * fine_px / (DEFAULT_CROP_FACTOR * radius)
    middle = (fine_px - 1) / 2 + np.asarray(camera.shift_px) * fine_px / 64
    x, y = middle - px_per_mm * np.asarray(centre)
    return View(rotation, float(px_per_mm), (float(x), float(y)), fine_px)

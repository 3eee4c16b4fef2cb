"""Geometry of a synthetic face: surface, head pose, projection and crop.

Head coordinates (x, y, z) are in millimetres. Their origin is the centre of the eyeball. Their axes
rotate with the head. For a right eye, x points towards the nose. y points up, and z points out of
the face. If the face looks into the camera, x points to the right of the image. Camera coordinates
have the same origin and unit, but their axes do not rotate with the head.

The surface of the face does not change. The lids slide on this surface (see `lids`). Folds that
move with the lids change only the shading, not the surface.

The camera uses an orthographic projection: the head pose rotates the head coordinates, and the
depth is ignored. The patch is a square image around the projected outline of the lids.

The renderer paints an image at `OVERSAMPLING` times its size, and then shrinks the image by
averaging over areas. Public functions return coordinates in pixels of the final patch, not of the
larger painted image. The centres of pixels have integer coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR
from mggr_tf.drawn_eyes.compiled import compiled

APEX_MM = 13.0
"""Distance from the centre of the eyeball to the surface of closed lids, at x = y = 0."""

_ACROSS_TO_TEMPLE, _ACROSS_TO_NOSE, _UPRIGHT = 20.0, 24.0, 29.0
"""Flatness of the lids in three directions: towards the temple, towards the nose, and vertically.

Each value is the squared distance from the apex, divided by the depth below the apex, in mm^2 / mm.
A larger value makes the surface flatter. The value towards the temple is smaller, because the outer
corner of the eye lies further back.
"""

_STEPS, _MISS_MM = 6, 1e-7


class Face(NamedTuple):
    """Depths and heights of the face, mm, relative to the rim of the socket; see `subject.Skin`."""

    socket_mm: float
    nose_mm: float
    cheek_mm: float
    temple_mm: float


@compiled
def smooth_step(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and the cubic smoothstep function in between."""
    s = min(max((value - low) / (high - low), 0.0), 1.0)
    return s * s * (3.0 - 2.0 * s)


@compiled
def face_height(face: Face, x: float, y: float) -> float:
    """Return the height z, mm, of the skin at head coordinates (x, y), mm."""
    across = _ACROSS_TO_NOSE if x > 0 else _ACROSS_TO_TEMPLE
    globe = APEX_MM - x * x / across - y * y / _UPRIGHT
    around = (
        6.0
        + face.socket_mm * smooth_step(y - 0.12 * x, 3.0, 17.0)
        + face.nose_mm * smooth_step(x + 0.25 * y, 9.0, 25.0)
        + face.cheek_mm * smooth_step(-y - 0.4 * x, 5.0, 24.0)
        - face.temple_mm * smooth_step(-x, 6.0, 28.0)
    )
    # The lids bulge over the eyeball. Towards the rim of the socket, the bulge becomes flat.
    rim = smooth_step(np.sqrt(0.8 * x * x + y * y), 8.0, 19.0)
    return globe + rim * (around - globe)


@compiled
def intersect_face(
    face: Face, rotation: np.ndarray, camera_x: float, camera_y: float
) -> tuple[float, float, float]:
    """Return the point where a line of sight meets the skin.

    Args:
        face: surface of the face.
        rotation: [3, 3] float64 rotation matrix from head axes to camera axes.
        camera_x: x of the line of sight in camera coordinates, mm.
        camera_y: y of the line of sight in camera coordinates, mm.

    Returns:
        Head coordinates (x, y, z) of the point, mm.
    """
    # All points of the line have the same camera x and y. The loop searches for the depth at which
    # the line meets the skin.
    r = rotation
    x0 = r[0, 0] * camera_x + r[1, 0] * camera_y
    y0 = r[0, 1] * camera_x + r[1, 1] * camera_y
    z0 = r[0, 2] * camera_x + r[1, 2] * camera_y
    depth = (9.0 - z0) / r[2, 2]
    before = depth - 1.0
    point = x0 + before * r[2, 0], y0 + before * r[2, 1], z0 + before * r[2, 2]
    miss_before = face_height(face, point[0], point[1]) - point[2]
    for _ in range(_STEPS):
        x, y, z = x0 + depth * r[2, 0], y0 + depth * r[2, 1], z0 + depth * r[2, 2]
        miss = face_height(face, x, y) - z
        if abs(miss) < _MISS_MM:
            break
        # This is a step of the secant method. The code limits steps to 4 mm, because the surface is
        # folded at the nose.
        step = miss * (depth - before) / (miss_before - miss)
        before, miss_before = depth, miss
        depth += min(max(step, -4.0), 4.0)
    x, y = x0 + depth * r[2, 0], y0 + depth * r[2, 1]
    return x, y, face_height(face, x, y)


@compiled
def face_heights(face: Face, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    """Write the height of the skin for each x [N, M] and y [N, M] into z [N, M]. All are in mm."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z[i, j] = face_height(face, x[i, j], y[i, j])


OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """Orthographic view of one eye.

    Attributes:
        rotation: [3, 3] rotation matrix from head axes to camera axes.
        px_per_mm: scale of the patch, pixels per millimetre.
        eyeball_px: position (x, y) of the eyeball's centre in the patch, pixels.
        size_px: width and height of the patch, pixels.
    """

    rotation: NDArray[np.float64]
    px_per_mm: float
    eyeball_px: tuple[float, float]
    size_px: int

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project points [N, 3] in head coordinates, mm, to points [N, 2] in patch pixels."""
        seen = points_mm @ self.rotation.T
        return np.asarray(self.eyeball_px) + self.px_per_mm * seen[:, :2] * [1, -1]

    def fine(self) -> View:
        """Return the same view enlarged by `OVERSAMPLING`, for painting."""
        x, y = ((p + 0.5) * OVERSAMPLING - 0.5 for p in self.eyeball_px)
        return View(
            self.rotation, self.px_per_mm * OVERSAMPLING, (x, y), self.size_px * OVERSAMPLING
        )


def head_rotation(head_pose: Gaze, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """Return the [3, 3] rotation matrix from head axes to camera axes.

    The matrix maps the forward direction of the face, (0, 0, 1), to `unit_vectors(head_pose)`.

    Args:
        head_pose: pitch and yaw of the head relative to the camera.
        roll_deg: roll of the head, degrees. The roll is applied before pitch and yaw. A positive
            roll lowers the right side of the image.
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
    """Return the view of the patch around the outline of an eye.

    Args:
        outline_mm: [N, 3] points of the lids' outline, in head coordinates, mm.
        rotation: [3, 3] rotation matrix from head axes to camera axes.
        zoom: size of the eye in the patch, relative to a patch without cropping error.
        moved_mm: displacement (x, y) of the patch on the face, in camera coordinates, mm.
        shift_px: error (x, y) of the patch position, in pixels of a patch of 64 x 64 pixels.
        size_px: width and height of the patch, pixels.
    """
    seen = (outline_mm @ rotation.T)[:, :2] * [1, -1]
    centre, radius = cv2.minEnclosingCircle(seen.astype(np.float32))
    px_per_mm = zoom * size_px / (DEFAULT_CROP_FACTOR * radius)
    middle = (size_px - 1) / 2 + np.asarray(shift_px) * size_px / 64
    x, y = middle - px_per_mm * (np.asarray(centre) + np.asarray(moved_mm) * [1, -1])
    return View(rotation, float(px_per_mm), (float(x), float(y)), size_px)

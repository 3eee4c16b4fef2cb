"""Find the 468 landmarks of MediaPipe's face mesh in a square, and calculate the head pose.

The square is rotated so that the eyes are level. The model receives this crop of the frame. The
crop shows the face as it appears along the ray from the camera to the face.

The head pose is a rotation. A rigid fit between the points of a neutral face and the landmarks
determines this rotation. The fit uses only landmarks that do not move with the mouth, the lids or
the brows. Because of the crop, the rotation is relative to the camera. A perspective fit would need
the focal length, which is unknown.

References:
    [1] Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video
        on Mobile GPUs, 2019. Model: MediaPipe, Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.eye_crop import EyeCrop, crop_patch
from mggr_edge.models.runtimes import Runner

_INPUT, _POINTS, _CONFIDENCE = "input_1", "conv2d_20", "conv2d_30"
_SIZE_PX = 192
_REGION_FACTOR = 1.5
"""Side of the square divided by the side of the face box, as in the training of the mesh."""

RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (263, 362)
"""Landmark indices of (outer corner, inner corner).

Right and left are from the subject's point of view.
"""


@dataclass(frozen=True)
class MeshFit:
    """A fitted mesh.

    Attributes:
        landmarks: [468, 3] float32 points (x, y, z). x and y are in frame pixels. z is the depth at
            the same scale. Points with a smaller z are nearer to the camera.
        confidence: confidence in [0, 1] that the square contains a face.
    """

    landmarks: NDArray[np.float32]
    confidence: float


def region_of_detection(
    box: tuple[float, float, float, float], *, right_eye: ArrayLike, left_eye: ArrayLike
) -> EyeCrop:
    """Return the input square of the mesh, calculated from the box and the eyes of a detection."""
    left, top, right, bottom = box
    return EyeCrop(
        centre=((left + right) / 2, (top + bottom) / 2),
        width_px=_REGION_FACTOR * max(right - left, bottom - top),
        roll_deg=roll_of_eyes_deg(right_eye, left_eye),
        size_px=_SIZE_PX,
    )


def region_of_landmarks(landmarks: NDArray[np.float32]) -> EyeCrop:
    """Return the input square of the mesh, calculated from approximate landmarks [468, 3]."""
    points = landmarks[:, :2].astype(np.float64)
    roll_deg = roll_of_eyes_deg(points[RIGHT_EYE_CORNERS[0]], points[LEFT_EYE_CORNERS[0]])
    roll = np.radians(roll_deg)
    axes = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    level = points @ axes.T
    low, high = level.min(axis=0), level.max(axis=0)
    x, y = axes.T @ ((low + high) / 2)
    return EyeCrop(
        centre=(float(x), float(y)),
        width_px=_REGION_FACTOR * float(np.max(high - low)),
        roll_deg=roll_deg,
        size_px=_SIZE_PX,
    )


class FaceMesh:
    """Network that finds the landmarks of a face inside a square.

    Args:
        runner: the model `face_mesh` of a bundle.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def fit(self, frame: NDArray[np.uint8], region: EyeCrop) -> MeshFit:
        """Fit the mesh to the face inside `region` of a [H, W, 3] uint8 RGB frame."""
        patch = crop_patch(frame, region)
        outputs = self._runner({_INPUT: patch[None].astype(np.float32) / 255.0})
        inside = outputs[_POINTS].reshape(-1, 3).astype(np.float64)
        frame_from_region = region.frame_from_eye()
        landmarks = np.empty(inside.shape, np.float32)
        landmarks[:, :2] = inside[:, :2] @ frame_from_region[:, :2].T + frame_from_region[:, 2]
        landmarks[:, 2] = inside[:, 2] * region.width_px / region.size_px
        logit = float(outputs[_CONFIDENCE].reshape(()))
        return MeshFit(landmarks, 1.0 / (1.0 + np.exp(-np.clip(logit, -80.0, 80.0))))


def roll_of_eyes_deg(right_eye: ArrayLike, left_eye: ArrayLike) -> float:
    """Return the roll of the head: the angle of the line from the right eye to the left eye.

    Args:
        right_eye, left_eye: [2] frame points of the subject's own right and left eye.

    Returns:
        Degrees in [-180, 180]. For a head that is turned clockwise in the frame, the value is
        positive. For an upright head, it is 0.
    """
    dx, dy = np.asarray(left_eye, np.float64) - np.asarray(right_eye, np.float64)
    return float(np.degrees(np.arctan2(dy, dx)))


# Landmark index -> position in MediaPipe's canonical face model (Apache-2.0). The positions are in
# centimetres, rounded to a millimetre. x points to the subject's left, y points up, and z points
# out of the face. Points on the middle line have x = 0, so only (y, z) is listed.
_MIDDLE = {10: (8.3, 4.5), 151: (6.5, 5.0), 9: (4.9, 5.4), 168: (3.3, 5.2), 6: (2.5, 5.8),
           197: (0.4, 7.2), 2: (-2.1, 6.1)}  # fmt: skip
_PAIRS = {  # (subject's right, subject's left)
    (33, 263): (4.5, 2.7, 3.2),
    (133, 362): (1.9, 2.6, 3.8),
    (54, 284): (6.3, 6.6, 1.4),
    (127, 356): (7.7, 2.4, -2.0),
    (234, 454): (7.7, 0.7, -2.4),
    (50, 280): (4.8, -0.7, 3.5),
}


def head_pose(landmarks: NDArray[np.float32]) -> Gaze:
    """Return the direction in which the face points, relative to the camera.

    Args:
        landmarks: [468, 3] landmarks as in `MeshFit`.

    Returns:
        The direction. Positive pitch points up, and positive yaw points to the image's right.
    """
    seen = landmarks[list(_STEADY)].astype(np.float64) * (1.0, -1.0, -1.0)
    x, y, z = _rotation(_NEUTRAL, seen) @ (0.0, 0.0, 1.0)
    return Gaze.from_array(
        [np.degrees(np.arcsin(np.clip(y, -1.0, 1.0))), np.degrees(np.arctan2(x, z))]
    )


def _neutral_points() -> tuple[tuple[int, ...], NDArray[np.float64]]:
    points = {index: (0.0, y, z) for index, (y, z) in _MIDDLE.items()}
    for (right, left), (x, y, z) in _PAIRS.items():
        points[right], points[left] = (-x, y, z), (x, y, z)
    return tuple(points), np.asarray(list(points.values()), np.float64)


def _rotation(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation from the points `start` to the points `end` by the Kabsch algorithm.

    Both arrays are [N, 3]. Differences in scale and position are ignored.
    """
    u, _, vt = np.linalg.svd((end - end.mean(axis=0)).T @ (start - start.mean(axis=0)))
    handedness = np.sign(np.linalg.det(u @ vt))
    return u @ np.diag([1.0, 1.0, handedness]) @ vt


_STEADY, _NEUTRAL = _neutral_points()

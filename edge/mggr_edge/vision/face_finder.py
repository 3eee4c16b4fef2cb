"""Find the faces of a frame with the detector and the face mesh, and the eyes with the iris model.

The face mesh is a network that finds the landmarks of a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.runtimes import Runner
from mggr_edge.vision.detector import FaceDetector
from mggr_edge.vision.face_mesh import (
    LEFT_EYE_CORNERS,
    RIGHT_EYE_CORNERS,
    FaceMesh,
    MeshFit,
    head_pose,
    region_of_detection,
    region_of_landmarks,
)
from mggr_edge.vision.iris import Eye, IrisFinder

_MIN_MESH_CONFIDENCE = 0.5
_MESH_SIZES = (468, 478)
"""Numbers of landmarks: without and with the ten points of the irises, which come last."""
_SAME_FACE = 0.25
"""Maximum distance between two detections that count as the same face.

The distance is measured between the midpoints of the two pairs of eyes, and divided by the distance
between the eyes of one pair.
"""


@dataclass(frozen=True)
class Face:
    """A face in a frame.

    Attributes:
        landmarks: [468, 3] float32 points (x, y, z). x and y are in frame pixels. z is the depth at
            the same scale. Points with a smaller z are nearer to the camera.
        confidence: confidence of the face mesh in [0, 1].
        head_pose: direction in which the face points, relative to the camera.
        eyes: the subject's right eye, then the left eye.
    """

    landmarks: NDArray[np.float32]
    confidence: float
    head_pose: Gaze
    eyes: tuple[Eye, Eye]


class FaceFinder:
    """Object that finds faces and their eyes. It stores nothing from one frame to the next.

    Args:
        detector, mesh, iris: the landmark models of a bundle.
    """

    def __init__(self, *, detector: Runner, mesh: Runner, iris: Runner) -> None:
        self._detector = FaceDetector(detector)
        self._mesh = FaceMesh(mesh)
        self._iris = IrisFinder(iris)

    def find(self, frame: NDArray[np.uint8], *, max_faces: int = 4) -> tuple[Face, ...]:
        """Find the faces of a single picture.

        Each mesh is fitted twice, because the box of a detection is imprecise. The second fit uses
        a square around the landmarks of the first fit. In a video, `find_again` makes the second
        fit in the next frame.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            max_faces: the maximum number of faces. The faces with the highest confidence of the
                detector are kept.

        Returns:
            The faces. The face with the highest confidence of the detector is first. If there are
            no faces, the result is empty.
        """
        rough = self._detected(frame, beside=(), max_faces=max_faces)
        return self._faces(frame, [fit.landmarks for fit in rough])

    def with_landmarks(
        self, frame: NDArray[np.uint8], landmarks: Sequence[ArrayLike]
    ) -> tuple[Face, ...]:
        """Return faces whose landmarks are already known. Only the iris model is used.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            landmarks: for each face, [468, 3] or [478, 3] points of MediaPipe's face mesh. x and y
                are in frame pixels, and z is the depth at the same scale.

        Raises:
            ValueError: the landmarks of a face have another shape, or are not finite.
        """
        faces = []
        for one in landmarks:
            points = np.asarray(one, np.float32)
            if points.ndim != 2 or points.shape[1] != 3 or len(points) not in _MESH_SIZES:
                raise ValueError(
                    f"landmarks are [468, 3] or [478, 3] points, got {list(points.shape)}"
                )
            if not np.isfinite(points).all():
                raise ValueError("landmarks must be finite numbers")
            faces.append(self._face(frame, MeshFit(points[: _MESH_SIZES[0]], 1.0)))
        return tuple(faces)

    def find_more(
        self, frame: NDArray[np.uint8], *, beside: Sequence[Face], max_faces: int
    ) -> tuple[Face, ...]:
        """Find faces other than the known faces; each mesh is fitted only once.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            beside: the known faces in this frame.
            max_faces: the maximum number of additional faces.
        """
        found = self._detected(frame, beside=beside, max_faces=max_faces)
        return tuple(self._face(frame, fit) for fit in found)

    def find_again(self, frame: NDArray[np.uint8], faces: Sequence[Face]) -> tuple[Face, ...]:
        """Find the faces of the previous frame again, near their previous positions.

        Faces that are no longer visible are omitted. Two faces of the previous frame may match the
        same face in this frame. Then only the first face is kept.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            faces: the faces of the previous frame.
        """
        return self._faces(frame, [face.landmarks for face in faces])

    def _detected(
        self, frame: NDArray[np.uint8], *, beside: Sequence[Face], max_faces: int
    ) -> list[MeshFit]:
        """Fit meshes to detections that do not belong to a known face.

        Args:
            frame: [H, W, 3] uint8 RGB frame.
            beside: the known faces. No mesh is fitted to detections of these faces.
            max_faces: the maximum number of meshes.
        """
        fits: list[MeshFit] = []
        known = [_outer_corners(face.landmarks) for face in beside]
        for detection in self._detector.detect(frame) if max_faces else ():
            if len(fits) == max_faces:
                break
            eyes = np.asarray(detection.points[:2], np.float32)
            if any(_same_face(eyes, other) for other in known):
                continue
            fit = self._mesh.fit(
                frame, region_of_detection(detection.box, right_eye=eyes[0], left_eye=eyes[1])
            )
            corners = _outer_corners(fit.landmarks)
            if fit.confidence >= _MIN_MESH_CONFIDENCE and not any(
                _same_face(corners, other) for other in known
            ):
                fits.append(fit)
                known.append(corners)
        return fits

    def _faces(
        self, frame: NDArray[np.uint8], landmarks: Sequence[NDArray[np.float32]]
    ) -> tuple[Face, ...]:
        """Fit a mesh around each array of approximate landmarks, and return each face only once."""
        fits: list[MeshFit] = []
        for points in landmarks:
            fit = self._mesh.fit(frame, region_of_landmarks(points))
            corners = _outer_corners(fit.landmarks)
            if fit.confidence >= _MIN_MESH_CONFIDENCE and not any(
                _same_face(corners, _outer_corners(other.landmarks)) for other in fits
            ):
                fits.append(fit)
        return tuple(self._face(frame, fit) for fit in fits)

    def _face(self, frame: NDArray[np.uint8], fit: MeshFit) -> Face:
        points = fit.landmarks[:, :2]
        right = self._iris.find(frame, side="right", corners=points[list(RIGHT_EYE_CORNERS)])
        left = self._iris.find(frame, side="left", corners=points[list(LEFT_EYE_CORNERS)])
        return Face(fit.landmarks, fit.confidence, head_pose(fit.landmarks), (right, left))


def _outer_corners(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outer corners of the right eye and the left eye, [2, 2]."""
    return landmarks[[RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0]], :2]


def _same_face(eyes: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Return whether two pairs of eyes belong to the same face.

    Args:
        eyes, others: [2, 2] points of a right eye and a left eye: the centres or the outer corners
            of the eyes.
    """
    apart_px = np.linalg.norm(eyes.mean(axis=0) - others.mean(axis=0))
    return bool(apart_px < _SAME_FACE * np.linalg.norm(others[1] - others[0]))

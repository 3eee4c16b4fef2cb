"""Faces of a frame: detector, then mesh, then the iris model on each eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
_SAME_FACE = 0.25
"""Eye centres nearer than this share of the distance between the eyes: one face, found twice."""


@dataclass(frozen=True)
class Face:
    """A face in a frame.

    Attributes:
        landmarks: [468, 3] float32, x and y in frame pixels, z in pixels of the
            same scale, smaller is nearer to the camera.
        confidence: in [0, 1], of the mesh.
        head_pose: where the face points, relative to the camera.
        eyes: the subject's right eye, then the left.
    """

    landmarks: NDArray[np.float32]
    confidence: float
    head_pose: Gaze
    eyes: tuple[Eye, Eye]


class FaceFinder:
    """Finds faces with their eyes; holds no state between frames.

    Args:
        detector, mesh, iris: the landmark models of a bundle.
    """

    def __init__(self, *, detector: Runner, mesh: Runner, iris: Runner) -> None:
        self._detector = FaceDetector(detector)
        self._mesh = FaceMesh(mesh)
        self._iris = IrisFinder(iris)

    def find(self, frame: NDArray[np.uint8], *, max_faces: int = 4) -> tuple[Face, ...]:
        """Finds the faces of a picture on its own.

        Each mesh is fitted a second time, from where the first fit saw the face: a detector's box
        is loose, and there is no next frame in which `find_again` would do the same.

        Args:
            frame: [H, W, 3] uint8 RGB.
            max_faces: the most confident ones are kept.

        Returns:
            Faces, the detector's most confident first; empty when there are none.
        """
        rough = self._detected(frame, beside=(), max_faces=max_faces)
        return self._faces(frame, [fit.landmarks for fit in rough])

    def find_more(
        self, frame: NDArray[np.uint8], *, beside: Sequence[Face], max_faces: int
    ) -> tuple[Face, ...]:
        """Finds faces other than those that are known, with one mesh fit for each.

        Args:
            frame: [H, W, 3] uint8 RGB.
            beside: faces of this frame.
            max_faces: so many more at most.
        """
        found = self._detected(frame, beside=beside, max_faces=max_faces)
        return tuple(self._face(frame, fit) for fit in found)

    def find_again(self, frame: NDArray[np.uint8], faces: Sequence[Face]) -> tuple[Face, ...]:
        """Finds faces of the frame before where they were; those that are gone are left out.

        Args:
            frame: [H, W, 3] uint8 RGB.
            faces: of a frame a moment ago. Two that lie on one face now are one.
        """
        return self._faces(frame, [face.landmarks for face in faces])

    def _detected(
        self, frame: NDArray[np.uint8], *, beside: Sequence[Face], max_faces: int
    ) -> list[MeshFit]:
        """Meshes of detections that lie on no known face; those on one are not fitted."""
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
        """Faces by meshes that are fitted from where others saw them; each face once."""
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
    """[2, 2] the outer corners of the right and the left eye."""
    return landmarks[[RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0]], :2]


def _same_face(eyes: NDArray[np.float32], others: NDArray[np.float32]) -> bool:
    """Whether a right and a left eye, centres or outer corners, are those of another pair."""
    apart_px = np.linalg.norm(eyes.mean(axis=0) - others.mean(axis=0))
    return bool(apart_px < _SAME_FACE * np.linalg.norm(others[1] - others[0]))

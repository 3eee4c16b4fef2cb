"""Faces of a frame: detector, then mesh, then the iris model on each eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import Gaze
from mggr_edge.detector import FaceDetector
from mggr_edge.head_pose import head_pose
from mggr_edge.interpreters import Runner
from mggr_edge.iris import Eye, IrisFinder
from mggr_edge.mesh import (
    LEFT_EYE_CORNERS,
    RIGHT_EYE_CORNERS,
    FaceMesh,
    MeshFit,
    region_of_detection,
    region_of_landmarks,
)

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
        """Finds faces.

        Args:
            frame: [H, W, 3] uint8 RGB.
            max_faces: the most confident ones are kept.

        Returns:
            Faces, the detector's most confident first; empty when there are none.
        """
        fits: list[MeshFit] = []
        for detection in self._detector.detect(frame):
            if len(fits) == max_faces:
                break
            region = region_of_detection(
                detection.box, right_eye=detection.points[0], left_eye=detection.points[1]
            )
            # Twice: the detector's box is loose, and the mesh is better on its own.
            rough = self._mesh.fit(frame, region)
            fit = self._mesh.fit(frame, region_of_landmarks(rough.landmarks))
            if fit.confidence >= _MIN_MESH_CONFIDENCE and not any(
                _same_face(fit, other) for other in fits
            ):
                fits.append(fit)
        return tuple(self._face(frame, fit) for fit in fits)

    def _face(self, frame: NDArray[np.uint8], fit: MeshFit) -> Face:
        points = fit.landmarks[:, :2]
        right = self._iris.find(frame, side="right", corners=points[list(RIGHT_EYE_CORNERS)])
        left = self._iris.find(frame, side="left", corners=points[list(LEFT_EYE_CORNERS)])
        return Face(fit.landmarks, fit.confidence, head_pose(fit.landmarks), (right, left))


def _same_face(one: MeshFit, other: MeshFit) -> bool:
    outer = [RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[0]]
    eyes, other_eyes = one.landmarks[outer, :2], other.landmarks[outer, :2]
    apart_px = np.linalg.norm(eyes.mean(axis=0) - other_eyes.mean(axis=0))
    return bool(apart_px < _SAME_FACE * np.linalg.norm(eyes[1] - eyes[0]))

"""Where a face points, straight from the mesh's own depth.

The mesh is fitted to a crop around the face, as seen along the ray from the
camera to it. A rigid fit of its steady points (nothing that the mouth, lids or
brows move) onto a neutral face is therefore already relative to the camera:
no focal length has to be guessed, as a perspective fit would need.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze

# Mesh point -> (x to the subject's left, y up, z out of the face), centimetres,
# of MediaPipe's canonical face model (Apache-2.0), rounded to a millimetre.
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
    """The direction in which the face points.

    Args:
        landmarks: [468, 3] as in `MeshFit`.

    Returns:
        pitch + up, yaw + to the image's right, relative to the camera.
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
    """The rotation that brings [N, 3] `start` closest to `end`, scale and shift aside (Kabsch)."""
    u, _, vt = np.linalg.svd((end - end.mean(axis=0)).T @ (start - start.mean(axis=0)))
    handedness = np.sign(np.linalg.det(u @ vt))
    return u @ np.diag([1.0, 1.0, handedness]) @ vt


_STEADY, _NEUTRAL = _neutral_points()

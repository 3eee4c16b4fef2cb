"""The face as a surface: how far its skin stands out at every (x, y) of the head.

Head coordinates are millimetres from the eyeball's centre, x to the image's
right (the nose, for a right eye), y up, z out of the face. The surface does not
move: lids slide on it (`lid_curves`), and relief that moves with them is shading only.
A camera far away meets it along straight parallel lines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mggr_tf.drawn_eyes.compiled import compiled

APEX_MM = 13.0
"""Lids close over the cornea about here before the eyeball's centre."""

_ACROSS_TO_TEMPLE, _ACROSS_TO_NOSE, _UPRIGHT = 20.0, 24.0, 29.0
"""How slowly lids fall back from there, mm^2 for each mm; the outer corner lies further back."""

_STEPS, _MISS_MM = 6, 1e-7


class Face(NamedTuple):
    """Heights in millimetres before the rim of the socket; see `subject.Skin`."""

    socket_mm: float
    nose_mm: float
    cheek_mm: float
    temple_mm: float


@compiled
def smooth_step(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    s = min(max((value - low) / (high - low), 0.0), 1.0)
    return s * s * (3.0 - 2.0 * s)


@compiled
def face_height(face: Face, x: float, y: float) -> float:
    """z in mm of the skin at (x, y) mm."""
    across = _ACROSS_TO_NOSE if x > 0 else _ACROSS_TO_TEMPLE
    globe = APEX_MM - x * x / across - y * y / _UPRIGHT
    around = (
        6.0
        + face.socket_mm * smooth_step(y - 0.12 * x, 3.0, 17.0)
        + face.nose_mm * smooth_step(x + 0.25 * y, 9.0, 25.0)
        + face.cheek_mm * smooth_step(-y - 0.4 * x, 5.0, 24.0)
        - face.temple_mm * smooth_step(-x, 6.0, 28.0)
    )
    # The globe bulges under the lids and ends in the socket's rim.
    rim = smooth_step(np.sqrt(0.8 * x * x + y * y), 8.0, 19.0)
    return globe + rim * (around - globe)


@compiled
def meet_face(
    face: Face, rotation: np.ndarray, camera_x: float, camera_y: float
) -> tuple[float, float, float]:
    """Where the line of sight through (x, y) mm of the camera's plane meets the skin.

    Args:
        rotation: [3, 3] float64 from head to camera axes.

    Returns:
        Head (x, y, z).
    """
    # A point p of the line: camera (x, y, depth), turned back into the head.
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
        # Secant; no step longer than a few millimetres, where the nose folds the surface.
        step = miss * (depth - before) / (miss_before - miss)
        before, miss_before = depth, miss
        depth += min(max(step, -4.0), 4.0)
    x, y = x0 + depth * r[2, 0], y0 + depth * r[2, 1]
    return x, y, face_height(face, x, y)


@compiled
def face_heights(face: Face, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    """`face_height` at each of x [N, M] and y [N, M], into z [N, M]."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z[i, j] = face_height(face, x[i, j], y[i, j])

"""What stays the same while only the gaze changes: one person, one head pose, one light.

The face is met by lines of sight on a coarse grid over the camera's plane; between its nodes
painters interpolate. So a sitting's second picture costs a fraction of its first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, unit_vectors
from mggr_tf.drawn_eyes.compiled import compiled
from mggr_tf.drawn_eyes.face_geometry import (
    Face,
    face_height,
    face_heights,
    head_rotation,
    intersect_face,
)
from mggr_tf.drawn_eyes.subject import Emitter, Light, Skin, Subject
from mggr_tf.drawn_eyes.textures import skin_atlas

REACH_MM, STEP_MM = 45.0, 1.25
"""The grid spans [-REACH_MM, REACH_MM] both ways from the eyeball's centre."""

_NODES = int(2 * REACH_MM / STEP_MM) + 1
_OCCLUSION_MM = 3.5
_COARSER = 3
_WRAP = 0.25
"""Skin scatters: light reaches a little round the bend."""

MIDLINE_MM = 31.0
"""The face's middle from the eyeball's centre; half the distance between the pupils."""

X, Y, DIRECT, SLOPE, HOLLOW, SHADOW = range(6)
"""Channels of a sitting's grid: where the face is met, mm; direct light; how much of that a
slope of 1 upwards takes away; share of the ambient light that gets there; the cast shadow's."""


@dataclass(frozen=True, eq=False)
class Sitting:
    """One person with one head pose.

    Attributes:
        rotation: [3, 3] from head to camera axes.
        face: the surface.
        grid: [N, N, 6] float32 over the camera's plane, see `X` and following; row 0 is at
            y = REACH_MM.
        atlas: [H, W, 3] the skin's colours.
        coarse_atlas: [H / 3, W / 3, 3] the same, for pixels of a whole patch.
        nose: [2, 2] camera (x, y) mm of two points of the nose's ridge.
        nose_light: brightness of the nose.
        emitters: [E, 14] float64, see `emitter_rows`.
    """

    rotation: NDArray[np.float64]
    face: Face
    grid: NDArray[np.float32]
    atlas: NDArray[np.float32]
    coarse_atlas: NDArray[np.float32]
    nose: NDArray[np.float64]
    nose_light: float
    emitters: NDArray[np.float64]


@lru_cache(maxsize=4)
def sitting_of(subject: Subject, head_pose: Gaze, roll_deg: float = 0.0) -> Sitting:
    """Sits a person down; remembers the last few."""
    skin, light = subject.skin, subject.light
    rotation = head_rotation(head_pose, roll_deg)
    face = face_of(skin)
    emitters = emitter_rows(light)
    grid = np.zeros((_NODES, _NODES, 6), np.float32)
    _meet(face, rotation, emitters, emitters[:, :3] @ rotation, grid)
    grid[..., HOLLOW] = _sky(skin, grid, face)
    grid[..., SHADOW] = _cast_shadow(light)
    atlas = skin_atlas(subject)
    coarse = (atlas.shape[1] // _COARSER, atlas.shape[0] // _COARSER)
    stands = 14.0 + skin.nose_mm
    ridge = np.array([[MIDLINE_MM, 12.0, stands], [MIDLINE_MM, -34.0, stands + 33.0]])
    return Sitting(
        rotation=rotation,
        face=face,
        grid=grid,
        atlas=atlas,
        coarse_atlas=cv2.resize(atlas, coarse, interpolation=cv2.INTER_AREA),
        nose=(ridge @ rotation.T)[:, :2].copy(),
        nose_light=_nose_light(rotation, light, emitters),
        emitters=emitters,
    )


def face_of(skin: Skin) -> Face:
    """The surface of a person's face."""
    return Face(skin.socket_mm, skin.nose_mm, skin.cheek_mm, skin.temple_mm)


def emitter_rows(light: Light) -> NDArray[np.float64]:
    """[E, 14]: direction (3), the emitter's own right (3) and up (3), half width and height
    (radians), light, mirrored brightness, 1 for a disc."""
    return np.array([_row(e) for e in light.emitters]).reshape(-1, 14)


def _row(emitter: Emitter) -> list[float]:
    toward = unit_vectors([emitter.elevation_deg, emitter.azimuth_deg])
    right = np.cross([0.0, 1.0, 0.0], toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    size = np.radians([emitter.half_width_deg, emitter.half_height_deg])
    return [*toward, *right, *up, *size, emitter.lights, emitter.mirrored, float(emitter.round)]


@compiled
def _meet(
    face: Face, rotation: np.ndarray, emitters: np.ndarray, toward: np.ndarray, grid: np.ndarray
) -> None:
    """Args: toward: [E, 3] directions to the emitters, in the head's axes."""
    nodes = grid.shape[0]
    step = 0.05
    total = 0.0
    for e in range(emitters.shape[0]):
        total += emitters[e, 11]
    for row in range(nodes):
        for column in range(nodes):
            camera_x, camera_y = column * STEP_MM - REACH_MM, REACH_MM - row * STEP_MM
            x, y, z = intersect_face(face, rotation, camera_x, camera_y)
            slope_x = (face_height(face, x + step, y) - z) / step
            slope_y = (face_height(face, x, y + step) - z) / step
            length = np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
            direct, turn = 0.0, 0.0
            for e in range(emitters.shape[0]):
                along = toward[e, 2] - toward[e, 0] * slope_x - toward[e, 1] * slope_y
                lambert = along / length
                share = emitters[e, 11] / max(total, 1e-6)
                direct += share * max((lambert + _WRAP) / (1 + _WRAP), 0.0)
                turn += share * toward[e, 1] / (length * (1 + _WRAP))
            grid[row, column, 0] = x
            grid[row, column, 1] = y
            grid[row, column, 2] = direct
            grid[row, column, 3] = turn


def _sky(skin: Skin, grid: NDArray[np.float32], face: Face) -> NDArray[np.float32]:
    """What brow, nose and folds leave of the light from all around."""
    x, y = grid[..., X], grid[..., Y]
    height = np.empty(x.shape, np.float32)
    face_heights(face, x, y, height)
    reach = max(1, round(_OCCLUSION_MM / STEP_MM))
    # Beyond the border slopes go on (odd reflection); mirrored ones would look like a ridge.
    wide = np.pad(height, reach, mode="reflect", reflect_type="odd")
    mean = cv2.blur(wide, (2 * reach + 1, 2 * reach + 1))[reach:-reach, reach:-reach]
    hollow = np.exp(np.float32(-0.22) * np.clip(mean - height, -2, 2))
    depth = np.float32(0.055 * skin.socket_mm)
    socket = np.exp(-((y - 5 - 0.15 * x) ** 2) / np.float32(2 * 8.0**2))
    to_nose = 0.45 + 0.55 * _ramp(x, -16, 16)
    return hollow * (1 - depth * socket * to_nose) * (1 + 0.2 * _ramp(-y - 0.35 * x, 3, 20))


def _cast_shadow(light: Light) -> NDArray[np.float32]:
    """One soft-edged shadow (of the nose, the brow, hair) across the face."""
    angle = np.radians(light.shadow_angle_deg)
    steps = np.linspace(-REACH_MM, REACH_MM, _NODES, dtype=np.float32) / 25
    across = np.float32(np.cos(angle)) * steps[None] + np.float32(np.sin(angle)) * steps[::-1, None]
    edge = _ramp(across, light.shadow_offset, light.shadow_offset + 0.35)
    return 1 - np.float32(light.shadow_strength) * edge


def _ramp(value: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    s = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return s * s * (3 - 2 * s)


def _nose_light(rotation: NDArray, light: Light, emitters: NDArray) -> float:
    # What stands before an eye is the nose's back and its other side.
    side = rotation @ np.array([0.35, 0.25, 0.9])
    shares = emitters[:, 11] / max(emitters[:, 11].sum(), 1e-6)
    facing = np.maximum(0.35 + 0.75 * emitters[:, :3] @ side, 0.0)
    return float(light.ambient + (1 - light.ambient) * (shares @ facing))


@compiled
def read_grid(grid: np.ndarray, camera_x: float, camera_y: float, out: np.ndarray) -> None:
    """All channels at (x, y) mm of the camera's plane, bilinear, into `out`."""
    last = grid.shape[0] - 1.001
    column = min(max((camera_x + REACH_MM) / STEP_MM, 0.0), last)
    row = min(max((REACH_MM - camera_y) / STEP_MM, 0.0), last)
    i, j = int(row), int(column)
    v, u = row - i, column - j
    for k in range(grid.shape[2]):
        top = grid[i, j, k] + u * (grid[i, j + 1, k] - grid[i, j, k])
        low = grid[i + 1, j, k] + u * (grid[i + 1, j + 1, k] - grid[i + 1, j, k])
        out[k] = top + v * (low - top)

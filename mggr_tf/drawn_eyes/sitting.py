"""Data for rendering one person with one head pose and one illumination.

Images with the same `Sitting` differ only in the gaze. A `Sitting` contains a coarse grid over the
camera plane. At each node of the grid, the line of sight meets the face at a point. The grid stores
this point, and the light at this point. The painting functions interpolate between the nodes. The
first image of a `Sitting` takes the longest time to render. Each further image takes only a
fraction of this time.

Coordinates are defined in `face_geometry`. An emitter is a light source.
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
"""Extent and node distance of the grid, mm.

The grid covers [-REACH_MM, REACH_MM] in x and y. The eyeball's centre is in the middle.
"""

_NODES = int(2 * REACH_MM / STEP_MM) + 1
_OCCLUSION_MM = 3.5
_COARSER = 3
_WRAP = 0.25
"""Amount of light on skin that faces slightly away from a light source.

Such skin is not fully dark, because skin scatters light.
"""

MIDLINE_MM = 31.0
"""Distance from the eyeball's centre to the middle of the face, mm.

This is half of the distance between the pupils.
"""

X, Y, DIRECT, SLOPE, HOLLOW, SHADOW = range(6)
"""Channels of the grid in a `Sitting`.

`X` and `Y` are the head coordinates, mm, of the point where the line of sight meets the face.
`DIRECT` is the direct light. `SLOPE` is the decrease of the direct light if the upward slope of the
surface increases by 1. Folds, which change this slope, need `SLOPE`. `HOLLOW` is the factor of
ambient occlusion. `SHADOW` is the factor by which a cast shadow reduces the direct light.
"""


@dataclass(frozen=True, eq=False)
class Sitting:
    """Geometry, skin colours and light of one person with one head pose.

    Attributes:
        rotation: [3, 3] rotation matrix from head axes to camera axes.
        face: surface of the face.
        grid: [N, N, 6] float32 grid over the camera plane. The constants `X` to `SHADOW` are the
            indices of the channels. Row 0 is at y = REACH_MM.
        atlas: [H, W, 3] texture with the colours of the skin.
        coarse_atlas: [H / 3, W / 3, 3] texture `atlas` at a third of the resolution, for plain
            skin.
        nose: [2, 2] camera coordinates (x, y) of two points on the ridge of the nose, mm.
        nose_light: brightness of the nose.
        emitters: [E, 14] float64 light sources; see `emitter_rows`.
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
    """Return the `Sitting` of a subject and head pose.

    The function caches its last four results.
    """
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
    """Return the surface of a person's face."""
    return Face(skin.socket_mm, skin.nose_mm, skin.cheek_mm, skin.temple_mm)


def emitter_rows(light: Light) -> NDArray[np.float64]:
    """Return the light sources as an array [E, 14], with one row for each light source.

    A row contains these numbers:

    - 3 numbers: the direction to the light source.
    - 3 numbers: the horizontal axis of the light source.
    - 3 numbers: the vertical axis of the light source.
    - 2 numbers: half of the width and half of the height of the light source, radians.
    - 1 number: the weight of the light.
    - 1 number: the brightness of the reflection on the cornea.
    - 1 number: the shape of the light source, 1 for a disc and 0 for a rectangle.
    """
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
    """Fill the channels `X`, `Y`, `DIRECT` and `SLOPE` of the grid.

    Args:
        face: surface of the face.
        rotation: [3, 3] rotation matrix from head axes to camera axes.
        emitters: [E, 14] light sources; see `emitter_rows`.
        toward: [E, 3] directions to the light sources, in head axes.
        grid: [N, N, 6] grid. The function changes this array.
    """
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
    """Return the factor of ambient occlusion.

    The brow, the nose and folds of the skin reduce the ambient light.
    """
    x, y = grid[..., X], grid[..., Y]
    height = np.empty(x.shape, np.float32)
    face_heights(face, x, y, height)
    reach = max(1, round(_OCCLUSION_MM / STEP_MM))
    # Use mirror padding with inverted differences from the border height. This padding continues
    # the slope of the surface. Plain mirror padding would create a ridge at the border.
    wide = np.pad(height, reach, mode="reflect", reflect_type="odd")
    mean = cv2.blur(wide, (2 * reach + 1, 2 * reach + 1))[reach:-reach, reach:-reach]
    hollow = np.exp(np.float32(-0.22) * np.clip(mean - height, -2, 2))
    depth = np.float32(0.045 * skin.socket_mm)
    socket = np.exp(-((y - 5 - 0.15 * x) ** 2) / np.float32(2 * 8.0**2))
    to_nose = 0.1 + 0.9 * _ramp(x, -16, 16)
    return hollow * (1 - depth * socket * to_nose) * (1 + 0.2 * _ramp(-y - 0.35 * x, 3, 20))


def _cast_shadow(light: Light) -> NDArray[np.float32]:
    """Return the factor of a cast shadow on the face. The shadow has one soft edge.

    The nose, the brow or the hair can cast such a shadow.
    """
    angle = np.radians(light.shadow_angle_deg)
    steps = np.linspace(-REACH_MM, REACH_MM, _NODES, dtype=np.float32) / 25
    across = np.float32(np.cos(angle)) * steps[None] + np.float32(np.sin(angle)) * steps[::-1, None]
    edge = _ramp(across, light.shadow_offset, light.shadow_offset + 0.35)
    return 1 - np.float32(light.shadow_strength) * edge


def _ramp(value: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    s = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return s * s * (3 - 2 * s)


def _nose_light(rotation: NDArray, light: Light, emitters: NDArray) -> float:
    # The camera sees the ridge and one side of the nose in front of an eye. `side` is the direction
    # perpendicular to their surface.
    side = rotation @ np.array([0.35, 0.25, 0.9])
    shares = emitters[:, 11] / max(emitters[:, 11].sum(), 1e-6)
    facing = np.maximum(0.35 + 0.75 * emitters[:, :3] @ side, 0.0)
    return float(light.ambient + (1 - light.ambient) * (shares @ facing))


@compiled
def read_grid(grid: np.ndarray, camera_x: float, camera_y: float, out: np.ndarray) -> None:
    """Write all channels of the grid at a position into `out`, with bilinear interpolation.

    Args:
        grid: [N, N, 6] grid of a `Sitting`.
        camera_x: x of the position in camera coordinates, mm.
        camera_y: y of the position in camera coordinates, mm.
        out: [6] output array.
    """
    last = grid.shape[0] - 1.001
    column = min(max((camera_x + REACH_MM) / STEP_MM, 0.0), last)
    row = min(max((REACH_MM - camera_y) / STEP_MM, 0.0), last)
    i, j = int(row), int(column)
    v, u = row - i, column - j
    for k in range(grid.shape[2]):
        top = grid[i, j, k] + u * (grid[i, j + 1, k] - grid[i, j, k])
        low = grid[i + 1, j, k] + u * (grid[i + 1, j + 1, k] - grid[i + 1, j, k])
        out[k] = top + v * (low - top)

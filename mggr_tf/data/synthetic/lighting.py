"""Where the light comes from, and how relief catches it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import unit_vectors
from mggr_tf.data.synthetic.layout import Field, View
from mggr_tf.data.synthetic.subject import Light

_WRAP = 0.25
"""Skin scatters: light reaches a little round the bend."""

_OCCLUSION_MM = 3.5


def light_direction(light: Light, *, turn_deg: float = 0.0) -> NDArray[np.float32]:
    """[3] unit vector towards the lamp (x right, y up, z to the camera)."""
    toward = unit_vectors([light.elevation_deg, light.azimuth_deg + turn_deg])
    return toward.astype(np.float32)


def shade_relief(height_mm: Field, view: View, light: Light) -> Field:
    """Brightness [n, n] of a relief over the face's plane, about 0.2 to 1.1."""
    # A continued border keeps its slope; a mirrored one would light up the picture's rim.
    slope_y, slope_x = np.gradient(height_mm, np.float32(1 / view.px_per_mm))
    slope_y = -slope_y
    # The lamp as the turned face sees it; (slope_x, slope_y) are the face's own.
    lx, ly, lz = (view.rotation.T @ light_direction(light)).astype(np.float32)
    lambert = (lz - lx * slope_x - ly * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    lambert = np.maximum((lambert + _WRAP) / (1 + _WRAP), 0)
    hollow = np.clip(_surroundings(height_mm, _OCCLUSION_MM * view.px_per_mm) - height_mm, -2, 2)
    shade = light.ambient + (1 - light.ambient) * lambert
    return shade * np.exp(-0.22 * hollow)


def _surroundings(height_mm: Field, reach_px: float) -> Field:
    """Mean height within `reach_px`, at a quarter of the resolution.

    Beyond the border slopes go on (odd reflection): with the border mirrored,
    a slope that leaves the picture would look like a ridge there.
    """
    n = height_mm.shape[0]
    small = cv2.resize(height_mm, (n // 4, n // 4), interpolation=cv2.INTER_AREA)
    reach = max(1, round(reach_px / 4))
    wide = np.pad(small, reach, mode="reflect", reflect_type="odd")
    mean = cv2.blur(wide, (2 * reach + 1, 2 * reach + 1))[reach:-reach, reach:-reach]
    return cv2.resize(mean, (n, n), interpolation=cv2.INTER_LINEAR)


def cast_shadow(light: Light, size_px: int) -> Field:
    """[n, n] factor: one soft-edged shadow (of the nose, the brow, hair) across the patch."""
    angle = np.radians(light.shadow_angle_deg)
    steps = np.linspace(-1, 1, size_px, dtype=np.float32)
    across = np.float32(np.cos(angle)) * steps[None] - np.float32(np.sin(angle)) * steps[:, None]
    edge = smooth_step(across, light.shadow_offset, light.shadow_offset + 0.35)
    return 1 - np.float32(light.shadow_strength) * edge


def smooth_step(value: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 below `low`, 1 above `high`, smooth between."""
    s = (value - np.float32(low)) * np.float32(1 / (high - low))
    # In place: this runs some twenty times a picture.
    np.maximum(s, 0, out=s)
    np.minimum(s, 1, out=s)
    slope = 3 - 2 * s
    s *= s
    s *= slope
    return s

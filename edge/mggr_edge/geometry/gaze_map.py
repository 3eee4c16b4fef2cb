"""Draw gazemaps: simple pictures of an eyeball with the target gaze, as input of the redirector.

The redirector is the network that redirects the gaze. A gazemap has two channels in [0, 1]: iris
and eyeball. The eyeball is a disc at the centre of the patch. Its radius is `r = k * H / 2`, where
H is the height of the map in pixels. The iris is an ellipse with these properties, where p is the
pitch and y is the yaw:

- Its centre is shifted from the patch centre by `r cos(30 deg) (sin y cos p, -sin p)`.
- The full length of its major axis is `r`.
- The full length of its minor axis is `r |cos y cos p|`. The minor axis has the direction of the
  shift.

The gazemap follows [1], eq. 2-3. The lengths of the axes are those of the published code of [1].

Edges are linear ramps with a width of `edge_px`. The ramps are computed from the first-order
distance `f / |grad f|` to the outline. Therefore the drawing changes smoothly with the angles.

References:
    [1] Park, Spurr, Hilliges, Deep Pictorial Gaze Estimation, ECCV 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_K = 0.47
"""Eyeball diameter as a fraction of the map's height.

With this value, the eyeball has its true scale in a crop with the default `crop_factor` of 3.4. The
value 1.1 is for wider crops.
"""

DEFAULT_EDGE_PX = 2.0
"""Width of the soft edges in pixels. Two pixels prevent aliasing."""

_IRIS_PLANE = np.cos(np.radians(30.0))
"""Distance of the iris plane from the centre of the eyeball, divided by the eyeball radius [1]."""

_EPSILON = 1e-6


def draw_gazemap(
    pitch_yaw_deg: ArrayLike,
    *,
    size_px: int = 64,
    k: float = DEFAULT_K,
    edge_px: float = DEFAULT_EDGE_PX,
) -> NDArray[np.float32]:
    """Draw one gazemap per gaze.

    Args:
        pitch_yaw_deg: [..., 2] array (pitch, yaw) in degrees.
        size_px: height and width of the map in pixels.
        k: eyeball diameter as a fraction of the map's height.
        edge_px: width of the soft edge in pixels.

    Returns:
        [..., size_px, size_px, 2] float32 array in [0, 1] with the channels (iris, eyeball).

    Example:
        >>> iris = draw_gazemap([0.0, 10.0])[..., 0]
        >>> bool(iris[:, 32:].sum() > iris[:, :32].sum())  # positive yaw is to the right
        True
    """
    radians = np.radians(np.asarray(pitch_yaw_deg, np.float32))[..., None, None, :]
    sin_p, cos_p = np.sin(radians[..., 0]), np.cos(radians[..., 0])
    sin_y, cos_y = np.sin(radians[..., 1]), np.cos(radians[..., 1])

    axis = np.arange(size_px, dtype=np.float32) - (size_px - 1) / 2
    x, y = axis[None, :], axis[:, None]
    r = k * size_px / 2

    # Unit vector of the shift. If the shift is zero, the iris is a circle, and any direction is
    # correct.
    toward_x, toward_y = sin_y * cos_p, -sin_p
    length = np.sqrt(toward_x**2 + toward_y**2)
    safe = np.maximum(length, _EPSILON)
    unit_x = np.where(length > _EPSILON, toward_x / safe, 1.0)
    unit_y = np.where(length > _EPSILON, toward_y / safe, 0.0)

    from_x = x - r * _IRIS_PLANE * toward_x
    from_y = y - r * _IRIS_PLANE * toward_y
    along_minor = from_x * unit_x + from_y * unit_y
    along_major = from_y * unit_x - from_x * unit_y
    major = r / 2
    minor = np.maximum(major * np.abs(cos_y * cos_p), _EPSILON)
    q = np.sqrt((along_minor / minor) ** 2 + (along_major / major) ** 2)
    slope = np.sqrt((along_minor / minor**2) ** 2 + (along_major / major**2) ** 2)
    iris = _soft_edge((1 - q) * q / np.maximum(slope, _EPSILON), edge_px)
    # At the centre of the iris, q / slope is undefined. The pixels near the centre are always
    # inside the iris.
    iris = np.where(q < 0.5, _soft_edge((1 - q) * minor, edge_px), iris)

    eyeball = _soft_edge(r - np.sqrt(x**2 + y**2), edge_px)
    return np.stack([iris, np.broadcast_to(eyeball, iris.shape)], axis=-1).astype(np.float32)


def _soft_edge(inside_px: NDArray[np.float32], edge_px: float) -> NDArray[np.float32]:
    return np.clip(0.5 + inside_px / edge_px, 0.0, 1.0)

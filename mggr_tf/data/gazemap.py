"""TensorFlow twin of `mggr_edge.geometry.gaze_map`, for drawing batches inside the graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from mggr_edge.geometry.gaze_map import DEFAULT_EDGE_PX, DEFAULT_K

_IRIS_PLANE = float(np.cos(np.radians(30.0)))
_EPSILON = 1e-6


class Gazemap:
    """Draws gazemaps from angles; a property test holds it to the numpy one.

    Call with [B, 2] float32 degrees, (pitch, yaw); returns [B, H, W, 2] float32
    in [0, 1]: (iris, eyeball). See `mggr_edge.geometry.gaze_map` for formula and source.
    """

    def __init__(
        self, *, size_px: int = 64, k: float = DEFAULT_K, edge_px: float = DEFAULT_EDGE_PX
    ) -> None:
        self._edge_px = edge_px
        self._r = k * size_px / 2
        axis = tf.range(size_px, dtype=tf.float32) - (size_px - 1) / 2
        self._x, self._y = axis[None, None, :], axis[None, :, None]
        self._eyeball = self._soft_edge(self._r - tf.sqrt(self._x**2 + self._y**2))

    def __call__(self, pitch_yaw_deg: tf.Tensor) -> tf.Tensor:
        radians = pitch_yaw_deg[:, None, None, :] * (np.pi / 180)
        sin_p, cos_p = tf.sin(radians[..., 0]), tf.cos(radians[..., 0])
        sin_y, cos_y = tf.sin(radians[..., 1]), tf.cos(radians[..., 1])
        toward_x, toward_y = sin_y * cos_p, -sin_p
        length = tf.sqrt(toward_x**2 + toward_y**2)
        safe = tf.maximum(length, _EPSILON)
        unit_x = tf.where(length > _EPSILON, toward_x / safe, 1.0)
        unit_y = tf.where(length > _EPSILON, toward_y / safe, 0.0)

        from_x = self._x - self._r * _IRIS_PLANE * toward_x
        from_y = self._y - self._r * _IRIS_PLANE * toward_y
        along_minor = from_x * unit_x + from_y * unit_y
        along_major = from_y * unit_x - from_x * unit_y
        major = self._r / 2
        minor = tf.maximum(major * tf.abs(cos_y * cos_p), _EPSILON)
        q = tf.sqrt((along_minor / minor) ** 2 + (along_major / major) ** 2)
        slope = tf.sqrt((along_minor / minor**2) ** 2 + (along_major / major**2) ** 2)
        iris = self._soft_edge((1 - q) * q / tf.maximum(slope, _EPSILON))
        iris = tf.where(q < 0.5, self._soft_edge((1 - q) * minor), iris)
        return tf.stack([iris, tf.broadcast_to(self._eyeball, tf.shape(iris))], -1)

    def _soft_edge(self, inside_px: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(0.5 + inside_px / self._edge_px, 0.0, 1.0)

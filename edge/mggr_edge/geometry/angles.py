"""Represent gaze and head directions, with the sign convention of the whole project.

A direction is `(pitch_deg, yaw_deg)` relative to the camera that took the picture. `(0, 0)` points
to the lens. Positive pitch points up in the image, and positive yaw points to the image's right.
The axes are always those of the picture, even if the head is rolled (tilted to one side).
`Gaze.rolled` converts a direction between the axes of the picture and the axes of a rotated patch.
All functions accept and return degrees. Radians are used only inside this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Side = Literal["left", "right"]
"""Side of an eye from the subject's point of view.

In an upright face, the left eye appears on the image's right.
"""


@dataclass(frozen=True)
class Gaze:
    """A gaze or head direction in degrees, relative to the camera.

    Attributes:
        pitch_deg: vertical angle in [-90, 90]; positive points up in the image.
        yaw_deg: horizontal angle in [-90, 90]; positive points to the image's right.
    """

    pitch_deg: float
    yaw_deg: float

    def __post_init__(self) -> None:
        for name in ("pitch_deg", "yaw_deg"):
            value = getattr(self, name)
            if not np.isfinite(value) or abs(value) > 90:
                raise ValueError(f"{name} must lie in [-90, 90] degrees, got {value}")

    @classmethod
    def from_array(cls, pitch_yaw_deg: ArrayLike) -> Gaze:
        """Create a gaze from a `[2]` array (pitch, yaw) in degrees.

        The angles are clipped to [-90, 90], because a network can return angles outside this range.
        """
        pitch, yaw = np.clip(np.asarray(pitch_yaw_deg, np.float64), -90, 90)
        return cls(float(pitch), float(yaw))

    def array(self) -> NDArray[np.float32]:
        """Return a `[2]` float32 array (pitch, yaw) in degrees."""
        return np.asarray([self.pitch_deg, self.yaw_deg], np.float32)

    def mirrored(self) -> Gaze:
        """Return the gaze in the picture that is flipped left to right."""
        return Gaze(self.pitch_deg, -self.yaw_deg)

    def rolled(self, roll_deg: float) -> Gaze:
        """Return the same direction in axes that are rotated in the image plane.

        The unit vector of the gaze is rotated about the optical axis. Both pitch and yaw change.

        Args:
            roll_deg: angle in degrees from the old x axis to the new x axis. A positive angle means
                that the axis turns clockwise in the picture. The same angle with the opposite sign
                converts the direction back.

        Example:
            >>> right = Gaze(0.0, 10.0).rolled(90.0)  # the new x axis points down
            >>> round(right.pitch_deg, 6), round(right.yaw_deg, 6)
            (10.0, 0.0)
        """
        x, y, z = unit_vectors([self.pitch_deg, self.yaw_deg])
        cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
        return _direction(np.array([cos * x - sin * y, sin * x + cos * y, z]))

    def angle_to(self, other: Gaze) -> float:
        """Return the angle between the two directions in degrees."""
        return float(angular_error_deg(self.array(), other.array()))


def unit_vectors(pitch_yaw_deg: ArrayLike) -> NDArray[np.float64]:
    """Return directions as unit vectors `(cos p sin y, sin p, cos p cos y)`.

    p is the pitch and y is the yaw.

    Args:
        pitch_yaw_deg: [..., 2] array (pitch, yaw) in degrees.

    Returns:
        [..., 3] float64 array (x, y, z). x points to the image's right, y points up, and z points
        towards the camera.
    """
    radians = np.radians(np.asarray(pitch_yaw_deg, np.float64))
    pitch, yaw = radians[..., 0], radians[..., 1]
    return np.stack(
        [np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1
    )


def mean_gaze(gazes: Sequence[Gaze], weights: Sequence[float] | None = None) -> Gaze:
    """Return the mean of several gazes.

    The gazes are converted to unit vectors, and the result is the direction of the weighted mean
    of these vectors. Therefore the result does not depend on the choice of axes.

    Args:
        gazes: the gazes to average. At least one is required.
        weights: one weight per gaze. Each weight must be at least 0, and the sum of the weights
            must be positive. With `None`, all gazes have the same weight.
    """
    vectors = unit_vectors([[gaze.pitch_deg, gaze.yaw_deg] for gaze in gazes])
    return _direction(np.average(vectors, axis=0, weights=weights))


def _direction(vector: NDArray[np.float64]) -> Gaze:
    """Return the direction of a `[3]` vector (x, y, z); the length may have any value except 0."""
    x, y, z = vector
    pitch = np.degrees(np.arctan2(y, np.hypot(x, z)))
    return Gaze.from_array([pitch, np.degrees(np.arctan2(x, z))])


def angular_error_deg(a_deg: ArrayLike, b_deg: ArrayLike) -> NDArray[np.float64]:
    """Return the angle between two directions, in degrees.

    The angle is `atan2(|a x b|, a . b)`. This formula is also accurate for angles near zero.

    Args:
        a_deg, b_deg: [..., 2] arrays (pitch, yaw) in degrees. Their shapes are broadcast.

    Returns:
        [...] float64 array of degrees in [0, 180].
    """
    a, b = np.broadcast_arrays(unit_vectors(a_deg), unit_vectors(b_deg))
    sine = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(sine, np.sum(a * b, axis=-1)))

"""Gaze and head directions: one sign convention for the whole project.

A direction is `(pitch_deg, yaw_deg)` relative to the camera that took the
picture. `(0, 0)` looks into the lens, pitch + looks up in the image, yaw +
looks to the image's right. These axes are the picture's, also for a rolled head;
`Gaze.rolled` changes to the axes of a rotated patch and back. Radians never leave
this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Side = Literal["left", "right"]
"""The subject's own side: the left eye is seen on the image's right."""


@dataclass(frozen=True)
class Gaze:
    """A gaze or head direction in degrees, relative to the camera.

    Attributes:
        pitch_deg: + looks up in the image.
        yaw_deg: + looks to the image's right.
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
        """Reads `[2]` degrees, (pitch, yaw); clips to +-90, which a network may pass."""
        pitch, yaw = np.clip(np.asarray(pitch_yaw_deg, np.float64), -90, 90)
        return cls(float(pitch), float(yaw))

    def array(self) -> NDArray[np.float32]:
        """Returns `[2]` float32 degrees, (pitch, yaw)."""
        return np.asarray([self.pitch_deg, self.yaw_deg], np.float32)

    def mirrored(self) -> Gaze:
        """The same look in a picture flipped left to right."""
        return Gaze(self.pitch_deg, -self.yaw_deg)

    def rolled(self, roll_deg: float) -> Gaze:
        """Returns the same direction in axes that are turned in the picture.

        The unit vector is rotated about the optical axis, so pitch and yaw both change.

        Args:
            roll_deg: angle of the new x axis against the old one, + clockwise as seen; its
                negative brings the direction back.

        Example:
            >>> right = Gaze(0.0, 10.0).rolled(90.0)  # the new x axis points down
            >>> round(right.pitch_deg, 6), round(right.yaw_deg, 6)
            (10.0, 0.0)
        """
        x, y, z = unit_vectors([self.pitch_deg, self.yaw_deg])
        cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
        return _direction(np.array([cos * x - sin * y, sin * x + cos * y, z]))

    def angle_to(self, other: Gaze) -> float:
        """Angle between the two directions, in degrees."""
        return float(angular_error_deg(self.array(), other.array()))


def unit_vectors(pitch_yaw_deg: ArrayLike) -> NDArray[np.float64]:
    """Directions as unit vectors `(cos p sin y, sin p, cos p cos y)`.

    Args:
        pitch_yaw_deg: [..., 2] degrees, (pitch, yaw).

    Returns:
        [..., 3] float64: x to the image's right, y up, z towards the camera.
    """
    radians = np.radians(np.asarray(pitch_yaw_deg, np.float64))
    pitch, yaw = radians[..., 0], radians[..., 1]
    return np.stack(
        [np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1
    )


def mean_gaze(gazes: Sequence[Gaze], weights: Sequence[float] | None = None) -> Gaze:
    """Returns the direction of the weighted mean of unit vectors; it does not depend on axes.

    Args:
        gazes: at least one.
        weights: one for each gaze, not negative, with a positive sum; None weights all alike.
    """
    vectors = unit_vectors([[gaze.pitch_deg, gaze.yaw_deg] for gaze in gazes])
    return _direction(np.average(vectors, axis=0, weights=weights))


def _direction(vector: NDArray[np.float64]) -> Gaze:
    """The direction of `[3]` (x, y, z), of any length but 0."""
    x, y, z = vector
    pitch = np.degrees(np.arctan2(y, np.hypot(x, z)))
    return Gaze.from_array([pitch, np.degrees(np.arctan2(x, z))])


def angular_error_deg(a_deg: ArrayLike, b_deg: ArrayLike) -> NDArray[np.float64]:
    """Angle between directions, by `atan2(|a x b|, a . b)`, exact near zero too.

    Args:
        a_deg, b_deg: [..., 2] degrees, (pitch, yaw); they broadcast.

    Returns:
        [...] float64 degrees in [0, 180].
    """
    a, b = np.broadcast_arrays(unit_vectors(a_deg), unit_vectors(b_deg))
    sine = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(sine, np.sum(a * b, axis=-1)))

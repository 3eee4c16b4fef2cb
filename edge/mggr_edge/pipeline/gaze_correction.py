"""Correction of a person's estimator error, which depends linearly on the head pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze

Pair = tuple[float, float]
"""(pitch, yaw) or (lowest, highest)."""

_MOST_DEG = 90.0


@dataclass(frozen=True)
class GazeCorrection:
    """Offset that is subtracted from estimated gazes, as a function of the head pose.

    `offset(head) = offset_deg + slope @ (clamped head - reference_deg)`: the head pose is clamped
    to the range that the calibration has covered, so the offset never exceeds its values inside
    that range. The default corrects nothing.

    All angles are in degrees, (pitch, yaw), in the axes of the head: x along the line between the
    eyes, y up in the face. The error of an estimator depends on the face, so it rolls with the
    head. For an upright head, these are the axes of the image. The head pose is relative to the
    camera.

    Attributes:
        offset_deg: offset at `reference_deg`.
        slope: degrees of offset per degree of head pose; the rows are pitch and yaw of the offset,
            the columns pitch and yaw of the head.
        reference_deg: head pose at which the offset is `offset_deg`.
        head_pitch_deg, head_yaw_deg: (lowest, highest) head pose during calibration.

    Raises:
        ValueError: a number is not finite, a range is reversed, or an offset or a head pose exceeds
            90 degrees.
    """

    offset_deg: Pair = (0.0, 0.0)
    slope: tuple[Pair, Pair] = ((0.0, 0.0), (0.0, 0.0))
    reference_deg: Pair = (0.0, 0.0)
    head_pitch_deg: Pair = (0.0, 0.0)
    head_yaw_deg: Pair = (0.0, 0.0)

    def __post_init__(self) -> None:
        heads = (*self.reference_deg, *self.head_pitch_deg, *self.head_yaw_deg)
        # A comparison with NaN is false, so this form also rejects NaN.
        if not all(-_MOST_DEG <= angle <= _MOST_DEG for angle in heads):
            raise ValueError(f"head poses must lie in [-90, 90] degrees, got {heads}")
        for low, high in (self.head_pitch_deg, self.head_yaw_deg):
            if low > high:
                raise ValueError(f"a range of head poses is (lowest, highest), got {(low, high)}")
        # The maximum of a linear function over the range is at one of its corners.
        corners = list(product(self.head_pitch_deg, self.head_yaw_deg))
        largest_deg = np.abs([self.offset_deg, *self.offsets_deg(corners)]).max()
        if not largest_deg <= _MOST_DEG:
            raise ValueError(f"offsets must lie in [-90, 90] degrees, got {largest_deg}")

    def offsets_deg(self, head_deg: ArrayLike) -> NDArray[np.float64]:
        """Return the offsets for head poses.

        Args:
            head_deg: [..., 2] degrees, (pitch, yaw).

        Returns:
            [..., 2] float64 degrees, (pitch, yaw).
        """
        low, high = np.transpose([self.head_pitch_deg, self.head_yaw_deg])
        clamped = np.clip(np.asarray(head_deg, np.float64), low, high)
        return np.asarray(self.offset_deg) + (clamped - self.reference_deg) @ np.transpose(
            self.slope
        )

    def corrected(self, gaze: Gaze, *, head_pose: Gaze) -> Gaze:
        """Return the estimated gaze minus the offset, clipped to +-90 degrees."""
        offset_deg = self.offsets_deg([head_pose.pitch_deg, head_pose.yaw_deg])
        return Gaze.from_array([gaze.pitch_deg, gaze.yaw_deg] - offset_deg)

    def moved(self, change_deg: ArrayLike) -> GazeCorrection:
        """Return the correction with `[2]` degrees, (pitch, yaw), added at all head poses."""
        pitch, yaw = np.asarray(self.offset_deg) + np.asarray(change_deg, np.float64)
        return replace(self, offset_deg=(float(pitch), float(yaw)))

    def rounded(self) -> GazeCorrection:
        """Return the correction as stored in a file: angles with two decimals, slopes with four."""
        of_pitch, of_yaw = self.slope
        return GazeCorrection(
            offset_deg=_rounded(self.offset_deg, 2),
            slope=(_rounded(of_pitch, 4), _rounded(of_yaw, 4)),
            reference_deg=_rounded(self.reference_deg, 2),
            head_pitch_deg=_rounded(self.head_pitch_deg, 2),
            head_yaw_deg=_rounded(self.head_yaw_deg, 2),
        )


NO_CORRECTION = GazeCorrection()
"""Correction with an offset of 0."""


def constant_correction(offset: Gaze) -> GazeCorrection:
    """Return a correction with the same offset at all head poses."""
    return GazeCorrection(offset_deg=(offset.pitch_deg, offset.yaw_deg))


def _rounded(pair: Pair, decimals: int) -> Pair:
    first, second = pair
    return round(first, decimals), round(second, decimals)

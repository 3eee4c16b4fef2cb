"""Combine the gaze estimates of both eyes, and correct their error for one person.

The error of the estimator is modelled as a linear function of the head pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import Gaze, mean_gaze
from mggr_edge.vision.face_mesh import roll_of_eyes_deg

Pair = tuple[float, float]
"""Two numbers: (pitch, yaw) or (lowest, highest)."""

_MOST_DEG = 90.0


@dataclass(frozen=True)
class GazeCorrection:
    """An offset that is subtracted from estimated gazes. The offset depends on the head pose.

    The formula is `offset(head) = offset_deg + slope @ (clamped head - reference_deg)`. The head
    pose is clamped to the range of head poses during the calibration. Therefore the largest offset
    always belongs to a head pose in that range. With the default values, the offset is 0.

    All angles are (pitch, yaw) in degrees, in the axes of the head. The x axis is along the line
    between the eyes, and the y axis points up in the face. The error of an estimator follows the
    face: if the head rolls, the error rolls with the head. If the head is upright, the axes of the
    head are those of the image. The head pose is relative to the camera.

    Attributes:
        offset_deg: offset at the head pose `reference_deg`.
        slope: degrees of offset per degree of head pose. The rows are the pitch and yaw of the
            offset. The columns are the pitch and yaw of the head.
        reference_deg: head pose at which the offset is `offset_deg`.
        head_pitch_deg, head_yaw_deg: (lowest, highest) angle of the head during the calibration.

    Raises:
        ValueError: a number is not finite, or a range is reversed. The error is also raised if an
            offset or a head pose exceeds 90 degrees.
    """

    offset_deg: Pair = (0.0, 0.0)
    slope: tuple[Pair, Pair] = ((0.0, 0.0), (0.0, 0.0))
    reference_deg: Pair = (0.0, 0.0)
    head_pitch_deg: Pair = (0.0, 0.0)
    head_yaw_deg: Pair = (0.0, 0.0)

    def __post_init__(self) -> None:
        heads = (*self.reference_deg, *self.head_pitch_deg, *self.head_yaw_deg)
        # A comparison with NaN is always false. Therefore this condition also rejects NaN.
        if not all(-_MOST_DEG <= angle <= _MOST_DEG for angle in heads):
            raise ValueError(f"head poses must lie in [-90, 90] degrees, got {heads}")
        for low, high in (self.head_pitch_deg, self.head_yaw_deg):
            if low > high:
                raise ValueError(f"a range of head poses is (lowest, highest), got {(low, high)}")
        # A linear function over a rectangle has its largest absolute value at one of the corners.
        corners = list(product(self.head_pitch_deg, self.head_yaw_deg))
        largest_deg = np.abs([self.offset_deg, *self.offsets_deg(corners)]).max()
        if not largest_deg <= _MOST_DEG:
            raise ValueError(f"offsets must lie in [-90, 90] degrees, got {largest_deg}")

    def offsets_deg(self, head_deg: ArrayLike) -> NDArray[np.float64]:
        """Return the offsets for several head poses.

        Args:
            head_deg: [..., 2] head poses (pitch, yaw) in degrees.

        Returns:
            [..., 2] float64 offsets (pitch, yaw) in degrees.
        """
        low, high = np.transpose([self.head_pitch_deg, self.head_yaw_deg])
        clamped = np.clip(np.asarray(head_deg, np.float64), low, high)
        return np.asarray(self.offset_deg) + (clamped - self.reference_deg) @ np.transpose(
            self.slope
        )

    def corrected(self, gaze: Gaze, *, head_pose: Gaze) -> Gaze:
        """Return the estimated gaze minus the offset, with angles clipped to +-90 degrees."""
        offset_deg = self.offsets_deg([head_pose.pitch_deg, head_pose.yaw_deg])
        return Gaze.from_array([gaze.pitch_deg, gaze.yaw_deg] - offset_deg)

    def moved(self, change_deg: ArrayLike) -> GazeCorrection:
        """Return a copy whose offset is changed by the same angles at all head poses.

        Args:
            change_deg: [2] angles (pitch, yaw) in degrees that are added to the offset.
        """
        pitch, yaw = np.asarray(self.offset_deg) + np.asarray(change_deg, np.float64)
        return replace(self, offset_deg=(float(pitch), float(yaw)))

    def rounded(self) -> GazeCorrection:
        """Return a copy with rounded numbers, as stored in files.

        Angles are rounded to two decimals, and slopes are rounded to four decimals.
        """
        of_pitch, of_yaw = self.slope
        return GazeCorrection(
            offset_deg=_rounded(self.offset_deg, 2),
            slope=(_rounded(of_pitch, 4), _rounded(of_yaw, 4)),
            reference_deg=_rounded(self.reference_deg, 2),
            head_pitch_deg=_rounded(self.head_pitch_deg, 2),
            head_yaw_deg=_rounded(self.head_yaw_deg, 2),
        )


NO_CORRECTION = GazeCorrection()
"""Correction that changes nothing, because its offset is 0."""


def constant_correction(offset: Gaze) -> GazeCorrection:
    """Return a correction with the same offset at all head poses."""
    return GazeCorrection(offset_deg=(offset.pitch_deg, offset.yaw_deg))


def _rounded(pair: Pair, decimals: int) -> Pair:
    first, second = pair
    return round(first, decimals), round(second, decimals)


def gaze_of_face(
    estimates: Sequence[Gaze],
    *,
    weights: Sequence[float],
    rolls_deg: Sequence[float],
    outlines: Sequence[NDArray[np.float32]],
    head_pose: Gaze,
    correction: GazeCorrection,
) -> Gaze | None:
    """Return the corrected gaze of a face: the weighted mean of the estimates of its eyes.

    Args:
        estimates: estimate of the right and of the left eye, in the axes of their crops. The list
            is empty if no gaze was estimated.
        weights: weight of each estimate, at least 0.
        rolls_deg: roll of the crop of each eye in degrees.
        outlines: [N, 2] frame points around the right and the left eye. They define the roll of the
            head.
        head_pose: head pose in the axes of the image.
        correction: correction of the mean.

    Returns:
        Gaze in the axes of the image. `None` if no eye has a weight above 0.
    """
    used = [n for n, weight in enumerate(weights) if weight > 0 and estimates]
    if not used:
        return None
    mean = mean_gaze([estimates[n].rolled(-rolls_deg[n]) for n in used], [weights[n] for n in used])
    # The error of the estimator depends on the face, so the error rolls with the head.
    right, left = (outline.mean(axis=0) for outline in outlines)
    roll_deg = roll_of_eyes_deg(right, left)
    head_pose = head_pose.rolled(roll_deg)
    return correction.corrected(mean.rolled(roll_deg), head_pose=head_pose).rolled(-roll_deg)

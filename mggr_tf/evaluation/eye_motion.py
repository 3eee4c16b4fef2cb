"""How the parts of an eye move in its patch with the gaze, as the device's iris model sees them.

One instrument for photographs and drawn eyes: `IrisFinder` finds the eye in each 64-pixel patch,
started at the corners that a crop of 3.4 radii has. Its readings have errors of their own (it moves
the corners along with the iris, for example), which are the same for both kinds of patches. So
compare tables with each other, not a table with the geometry.

Slopes are least squares over patches with fixed effects (`within_groups`): within each group (one
person, side and head pose) a reading is regressed on the pitch and the yaw of the gaze together.
Neither a person's own offsets nor those of a side or head pose count.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX
from mggr_edge.vision.iris import Eye, IrisFinder
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.within_groups import Measured, mean_of, slopes_within

FRONTAL_DEG = 8.0
"""A head is frontal whose pitch and yaw lie within so many degrees."""

_UPPER_MIDDLE, _LOWER_MIDDLE = 12, 4
"""Points of the outline: the middles of the lids."""

_PITCH, _YAW = 0, 1


@dataclass(frozen=True)
class EyeMotion:
    """How the parts of an eye move with its gaze; slopes in pixels of a 64-pixel patch a degree.

    x is to the nose's side, y down; pitch + is up, yaw + to the nose's side.

    Attributes:
        iris_x: the iris's centre against the middle between the corners, by yaw.
        iris_x_in_crop: the iris's centre in the patch, by yaw.
        iris_y: the iris's centre against the middle between the corners, by pitch.
        corners_y_in_crop: the middle between the corners in the patch, by pitch: how far the crop
            follows the eye.
        upper_lid_y: the middle of the upper lid against the middle between the corners, by pitch.
        lower_lid_y: that of the lower lid.
        iris_radius: mean radius of the iris, pixels.
        eye_width: mean distance between the corners, pixels.
    """

    iris_x: Measured
    iris_x_in_crop: Measured
    iris_y: Measured
    corners_y_in_crop: Measured
    upper_lid_y: Measured
    lower_lid_y: Measured
    iris_radius: Measured
    eye_width: Measured

    def rows(self) -> dict[str, Measured]:
        """All numbers by their names, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def frontal(samples: EyeSamples) -> NDArray[np.bool_]:
    """[N] which patches show a frontal head."""
    result: NDArray[np.bool_] = np.abs(samples.head_deg).max(axis=1) <= FRONTAL_DEG
    return result


def measure_eye_motion(
    samples: EyeSamples, finder: IrisFinder, *, progress: Progress = no_progress
) -> EyeMotion:
    """Measures patches of frontal heads; others among the samples are left out.

    Args:
        samples: canonical patches with gaze labels.
        finder: the instrument.
        progress: shown the patches that are done.

    Raises:
        DataError: no two gazes of one person, side and head pose among frontal heads, or gazes
            that do not vary in both pitch and yaw.
    """
    rows = np.flatnonzero(frontal(samples))
    eyes = []
    with progress("finding irises", len(rows)) as advance:
        for row in rows:
            eyes.append(_readings(find_in_patch(samples.images[row], finder)))
            advance(1)
    scale = DEFAULT_SIZE_PX / samples.images.shape[1]
    readings = np.array(eyes).reshape(len(rows), len(_READINGS)) * scale
    gaze_deg, person = samples.gaze_deg[rows].astype(np.float64), samples.subject[rows]
    numbers = {}
    for (name, axis), reading in zip(_READINGS.items(), readings.T, strict=True):
        if axis is None:
            numbers[name] = mean_of(reading, person=person)
            continue
        try:
            slopes = slopes_within(reading, gaze_deg, group=samples.group[rows], person=person)
        except ValueError:
            raise DataError(
                f"{samples.source}: {len(rows)} patches of frontal heads (within "
                f"{FRONTAL_DEG:g} degrees) are too few, or too much alike, to measure motion: it "
                "takes people whose gazes differ in pitch and in yaw"
            ) from None
        numbers[name] = slopes[axis]
    return EyeMotion(**numbers)


def find_in_patch(patch: NDArray[np.uint8], finder: IrisFinder) -> Eye:
    """Finds the eye in a canonical patch [H, H, 3] uint8."""
    size = patch.shape[0]
    middle, radius = (size - 1) / 2, size / DEFAULT_CROP_FACTOR
    return finder.find(
        patch, side="right", corners=[[middle - radius, middle], [middle + radius, middle]]
    )


_READINGS: dict[str, int | None] = {
    "iris_x": _YAW,
    "iris_x_in_crop": _YAW,
    "iris_y": _PITCH,
    "corners_y_in_crop": _PITCH,
    "upper_lid_y": _PITCH,
    "lower_lid_y": _PITCH,
    "iris_radius": None,
    "eye_width": None,
}
"""What is read off an eye, and the angle by which its slope is asked for; None for its mean."""


def _readings(eye: Eye) -> list[float]:
    x, y = eye.iris_centre
    middle_x, middle_y = eye.corners.mean(axis=0)
    return [
        x - middle_x,
        x,
        y - middle_y,
        middle_y,
        eye.outline[_UPPER_MIDDLE, 1] - middle_y,
        eye.outline[_LOWER_MIDDLE, 1] - middle_y,
        eye.iris_radius_px,
        eye.width_px,
    ]


COLUMBIA = EyeMotion(
    iris_x=Measured(0.1465, 0.0062),
    iris_x_in_crop=Measured(0.2532, 0.0056),
    iris_y=Measured(-0.0486, 0.0048),
    corners_y_in_crop=Measured(0.0463, 0.0089),
    upper_lid_y=Measured(-0.0683, 0.0058),
    lower_lid_y=Measured(-0.0043, 0.0051),
    iris_radius=Measured(8.796, 0.105),
    eye_width=Measured(35.057, 0.394),
)
"""Photographs: the Columbia Gaze Data Set, people 0001-0032, frontal heads, 1338 patches
(`mggr-tf data motion PATCHES --subjects 0001-0032`)."""

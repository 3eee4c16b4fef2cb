"""Motion of irises, corners and lids, measured with the iris model.

`measure_eye_motion` measures how the parts of an eye move with the labelled gaze. `IrisFinder`
finds the eye in each 64-pixel patch, starting from the corner positions of a crop of 3.4 radii.
The same method is used for photographs and synthetic eyes. It has systematic errors (for example,
the corners move along with the iris), which are the same for both. Therefore compare tables with
each other, not with the geometry of the eye.

Slopes are computed by least squares with fixed effects (`slopes_within`): within each group (one
person, side and head pose), a measurement is regressed on pitch and yaw of the gaze together. The
group's means are subtracted from measurements and gazes, so constant offsets of a person, side or
head pose have no effect. Standard errors allow any correlation between the residuals of one
person (Liang and Zeger [1], with the factor N / (N - 1) for N people).

`measure_still_eyes` redirects every eye to its own gaze, so the iris should not move. The iris
still moves by the estimator's gaze error, to the extent that the redirector follows it. This is
the only error that is visible on a person who looks into the lens and requests eye contact.

References:
    [1] Longitudinal data analysis using generalized linear models, Biometrika 73, 1986.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import image_from_network
from mggr_edge.vision.iris import Eye, IrisFinder
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import Redirect, redirect_pairs


class Measured(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


def slopes_within(
    values: NDArray[np.float64],
    causes: NDArray[np.float64],
    *,
    group: NDArray,
    person: NDArray,
) -> tuple[Measured, ...]:
    """Regress values on several causes together, within groups.

    Args:
        values: [N] dependent variable.
        causes: [N, K] independent variables.
        group: [N] group of each sample; the samples of a group share one offset.
        person: [N] person of each sample; residuals of one person may be correlated.

    Returns:
        K slopes with their standard errors, in units of `values` per unit of the cause.

    Raises:
        ValueError: the causes do not vary independently of each other within groups.
    """
    x, y = _centred(causes, group), _centred(values[:, None], group)[:, 0]
    if len(x) == 0 or np.linalg.matrix_rank(x, tol=1e-3) < x.shape[1]:
        raise ValueError("causes do not vary independently of each other within groups")
    inverse = np.linalg.inv(x.T @ x)
    slopes = inverse @ x.T @ y
    spread = inverse @ _spread_of_sums(x * (y - x @ slopes)[:, None], person) @ inverse
    errors = np.sqrt(np.diag(spread))
    return tuple(Measured(float(s), float(e)) for s, e in zip(slopes, errors, strict=True))


def mean_of(values: NDArray[np.float64], *, person: NDArray) -> Measured:
    """Return the mean of values [N]; the standard error allows correlation within a person."""
    mean = float(values.mean())
    spread = _spread_of_sums((values - mean)[:, None], person)[0, 0]
    return Measured(mean, float(np.sqrt(spread) / len(values)))


def _centred(values: NDArray[np.float64], group: NDArray) -> NDArray[np.float64]:
    """Subtract the mean of each group from values [N, K]."""
    _, number = np.unique(group, return_inverse=True)
    counts = np.bincount(number)
    return np.stack(
        [column - (np.bincount(number, column) / counts)[number] for column in values.T], axis=1
    )


def _spread_of_sums(values: NDArray[np.float64], person: NDArray) -> NDArray[np.float64]:
    """Return the spread of each person's sums of values [N, K], for the standard errors.

    It is the sum over the N people of the outer products of their sums, times N / (N - 1); [K, K].
    """
    _, number = np.unique(person, return_inverse=True)
    sums = np.stack([np.bincount(number, column) for column in values.T], axis=1)
    return sums.T @ sums * len(sums) / max(len(sums) - 1, 1)


FRONTAL_DEG = 8.0
"""Maximum absolute pitch and yaw of a frontal head."""

_UPPER_MIDDLE, _LOWER_MIDDLE = 12, 4
"""Indices of the outline's points in the middle of the upper and the lower lid."""

_PITCH, _YAW = 0, 1


@dataclass(frozen=True)
class EyeMotion:
    """Motion of the parts of an eye with its gaze.

    Slopes are in pixels of a 64-pixel patch per degree. Positions are x, + towards the nose, and
    y, + down. Pitch + is up, yaw + is towards the nose. "Relative" means relative to the midpoint
    between the eye corners.

    Attributes:
        iris_x: slope of the relative x of the iris centre, by yaw.
        iris_x_in_crop: slope of the x of the iris centre in the patch, by yaw.
        iris_y: slope of the relative y of the iris centre, by pitch.
        corners_y_in_crop: slope of the y of the midpoint between the corners in the patch, by
            pitch. It shows how far the crop follows the eye.
        upper_lid_y: slope of the relative y of the middle of the upper lid, by pitch.
        lower_lid_y: slope of the relative y of the middle of the lower lid, by pitch.
        iris_radius: mean radius of the iris in pixels.
        eye_width: mean distance between the corners in pixels.
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
        """Return name -> value of all attributes, in their order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def frontal(samples: EyeSamples) -> NDArray[np.bool_]:
    """Return [N] bool, whether each patch shows a frontal head."""
    result: NDArray[np.bool_] = np.abs(samples.head_deg).max(axis=1) <= FRONTAL_DEG
    return result


def measure_eye_motion(
    samples: EyeSamples, finder: IrisFinder, *, progress: Progress = no_progress
) -> EyeMotion:
    """Measure the motion of eyes with the gaze; patches of heads that are not frontal are skipped.

    Args:
        samples: patches of the canonical side with gaze labels.
        finder: iris model.
        progress: reports the number of processed patches.

    Raises:
        DataError: frontal heads do not have two gazes of one person, side and head pose, or the
            gazes do not vary in both pitch and yaw.
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
                f"{samples.source}: motion cannot be measured on {len(rows)} patches of frontal "
                f"heads (within {FRONTAL_DEG:g} degrees); the gazes of each person must differ in "
                "both pitch and yaw",
                code="too-few-gazes",
                source=samples.source,
                patches=len(rows),
            ) from None
        numbers[name] = slopes[axis]
    return EyeMotion(**numbers)


def find_in_patch(patch: NDArray[np.uint8], finder: IrisFinder) -> Eye:
    """Find the eye in a patch [H, H, 3] uint8 of the canonical side."""
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
"""Measurement -> axis of the gaze for its slope, or None for the mean of the measurement."""


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
"""Motion in photographs: Columbia Gaze Data Set, people 0001-0032, frontal heads, 1338 patches
(`mggr-tf data motion PATCHES --subjects 0001-0032`)."""


IRIS_RADIUS_MM = 5.85
"""Half of the mean visible iris diameter (Rüfer et al., Cornea 2005: 11.71 mm)."""
ROTATION_RADIUS_MM = 9.8
"""Distance from the eyeball's centre to the plane of the iris' rim, as in the renderer."""

_FAR_DEG = 3.0


@dataclass(frozen=True)
class StillEyes:
    """Iris movements that the iris model measures where the iris should not move.

    Attributes:
        eyes: number of eyes.
        moved_px: mean length of the movement in pixels of the patch.
        moved_deg: mean movement as a rotation of an eyeball of average size, in degrees.
        far_share: share of the eyes that move by more than 3 degrees.
        drift_px: mean movement (x, y) in pixels of the patch, y + down; movements in opposite
            directions cancel.
    """

    eyes: int
    moved_px: float
    moved_deg: float
    far_share: float
    drift_px: tuple[float, float]


def measure_still_eyes(
    redirect: Redirect,
    samples: EyeSamples,
    *,
    source_deg: NDArray[np.float32],
    finder: IrisFinder,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> StillEyes:
    """Redirect every eye to its labelled gaze and measure the movement of the iris.

    Args:
        redirect: redirector.
        samples: N patches with gaze labels.
        source_deg: [N, 2] source gazes for the redirector, (pitch, yaw) in degrees.
        finder: iris model.
        conventions: scales of the redirector's inputs.
        progress: reports the number of processed patches.
    """
    rows = np.arange(len(samples))
    with progress("redirecting", len(samples)) as advance:
        made = redirect_pairs(
            redirect,
            samples,
            np.stack([rows, rows], axis=1),
            conventions=conventions,
            source_deg=source_deg,
            advance=advance,
        )
    shifts, radii = [], []
    with progress("finding irises", len(samples)) as advance:
        for row, picture in enumerate(image_from_network(made["redirected"])):
            before = find_in_patch(samples.images[row], finder)
            after = find_in_patch(picture, finder)
            shifts.append(np.subtract(after.iris_centre, before.iris_centre))
            radii.append(before.iris_radius_px)
            advance(1)
    moved = np.asarray(shifts, np.float64)
    length_px = np.linalg.norm(moved, axis=1)
    sine = length_px / np.asarray(radii) * (IRIS_RADIUS_MM / ROTATION_RADIUS_MM)
    angle_deg = np.degrees(np.arcsin(np.clip(sine, 0, 1)))
    x, y = (float(value) for value in moved.mean(axis=0))
    return StillEyes(
        eyes=len(moved),
        moved_px=float(length_px.mean()),
        moved_deg=float(angle_deg.mean()),
        far_share=float((angle_deg > _FAR_DEG).mean()),
        drift_px=(x, y),
    )


def still_text(found: StillEyes) -> str:
    """Format the movements as one line of text."""
    x, y = found.drift_px
    return (
        f"{found.eyes} eyes redirected to their own gaze: irises move by "
        f"{found.moved_deg:.2f} degrees ({found.moved_px:.2f} px) on average, "
        f"{found.far_share:.0%} of them by more than {_FAR_DEG:g} degrees; mean movement "
        f"{x:+.2f} px to the right, {y:+.2f} px down"
    )

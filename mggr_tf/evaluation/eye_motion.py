"""Measure how irises, eye corners and lids move when the gaze changes.

`measure_eye_motion` measures how the parts of an eye move with the labelled gaze. The iris model
finds the eye in each patch of 64 x 64 pixels. The iris model starts from the typical positions of
the eye corners in a patch. A patch is 3.4 times as wide as the radius of the smallest circle around
the outline of the eye.

The iris model has systematic errors. For example, the corners that the model finds move with the
iris. These errors are the same for photographs and for synthetic eyes. Therefore compare
measurements only with other measurements, not with the geometry of the eye.

Slopes are computed by least squares with fixed effects (`slopes_within`). A group contains the
patches of one person, side and head pose. The means of each group are subtracted from measurements
and gazes. Therefore constant offsets of a person, side or head pose have no effect. A measurement
is then regressed on pitch and yaw of the gaze together. The residuals of one person may be
correlated. The standard errors take this correlation into account (Liang and Zeger [1], with the
factor N / (N - 1) for N people).

`measure_still_eyes` redirects every eye to its own gaze, so the iris should not move. However, the
redirector starts from the estimated gaze. If the estimate is wrong, the redirector moves the iris.
If a person looks into the lens and the target is the camera, this movement is the only visible
error.

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
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.eye_crop import DEFAULT_CROP_FACTOR, DEFAULT_SIZE_PX
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import image_from_network
from mggr_edge.pipeline.gating import gate_tolerance
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
    """Fit a linear regression of values on several causes. Each group has its own offset.

    Args:
        values: [N] dependent variable.
        causes: [N, K] independent variables.
        group: [N] group of each sample. All samples of a group have the same offset.
        person: [N] person of each sample. The residuals of one person may be correlated.

    Returns:
        K slopes with their standard errors. The unit is the unit of `values` per unit of the cause.

    Raises:
        ValueError: the causes do not vary independently of each other within the groups.
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
    """Return the mean of values [N] and its standard error.

    The values of one person may be correlated. The standard error takes this correlation into
    account.
    """
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
    """Return a covariance matrix [K, K] for the standard errors.

    The values [N, K] of each person are added. The result is the sum of the outer products of these
    sums, multiplied by P / (P - 1) for P people.
    """
    _, number = np.unique(person, return_inverse=True)
    sums = np.stack([np.bincount(number, column) for column in values.T], axis=1)
    return sums.T @ sums * len(sums) / max(len(sums) - 1, 1)


FRONTAL_DEG = 8.0
"""Maximum absolute pitch and yaw of a frontal head pose, in degrees."""

_UPPER_MIDDLE, _LOWER_MIDDLE = 12, 4
"""Indices of two points of the outline: the middle of the upper lid, and the middle of the lower
lid."""

_PITCH, _YAW = 0, 1


@dataclass(frozen=True)
class EyeMotion:
    """How the parts of an eye move when the gaze changes.

    A slope is the movement in pixels per degree, for patches of 64 x 64 pixels. Positive x is
    towards the nose, and positive y is down. Positive pitch is up, and positive yaw is towards the
    nose. A movement relative to the eye corners is measured from the midpoint between both corners.

    Attributes:
        iris_x: horizontal movement of the iris centre, relative to the eye corners, per degree of
            yaw.
        iris_x_in_crop: horizontal movement of the iris centre in the patch, per degree of yaw.
        iris_y: vertical movement of the iris centre, relative to the eye corners, per degree of
            pitch.
        corners_y_in_crop: vertical movement of the midpoint between both eye corners in the patch,
            per degree of pitch. This value shows how far the crop follows the eye.
        upper_lid_y: vertical movement of the middle of the upper lid, relative to the eye corners,
            per degree of pitch.
        lower_lid_y: vertical movement of the middle of the lower lid, relative to the eye corners,
            per degree of pitch.
        iris_radius: mean radius of the iris in pixels.
        eye_width: mean distance between the eye corners in pixels.
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
        """Return a dict of all attributes: name -> value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def frontal(samples: EyeSamples) -> NDArray[np.bool_]:
    """Return [N] bool, whether each patch has a frontal head pose."""
    result: NDArray[np.bool_] = np.abs(samples.head_deg).max(axis=1) <= FRONTAL_DEG
    return result


def measure_eye_motion(
    samples: EyeSamples, finder: IrisFinder, *, progress: Progress = no_progress
) -> EyeMotion:
    """Measure how the parts of an eye move when the gaze changes.

    Only patches with a frontal head pose are used.

    Args:
        samples: patches with gaze labels. All patches must show the canonical side. Patches of the
            other side must be mirrored.
        finder: iris model.
        progress: reports the number of processed patches.

    Raises:
        DataError: the patches with a frontal head pose do not contain two gazes of one person, side
            and head pose. This error is also raised if all gazes have the same pitch or the same
            yaw.
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
    """Find the eye in a patch [H, H, 3] uint8.

    The patch must show the canonical side of the face. The networks were trained on this side.
    """
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
"""Measurement -> axis of the gaze for its slope. `None` means that the mean of the measurement is
computed instead of a slope."""


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
"""Measured motion in photographs. The photographs are 1338 patches with a frontal head pose
from the Columbia Gaze Data Set, people 0001-0032 (`mggr-tf data motion PATCHES --subjects
0001-0032`)."""


IRIS_RADIUS_MM = 5.85
"""Half of the mean visible iris diameter, which is 11.71 mm (Rüfer et al., Cornea 2005)."""
ROTATION_RADIUS_MM = 9.8
"""Distance from the centre of the eyeball to the plane of the edge of the iris. The renderer uses
the same value."""

_FAR_DEG = 3.0


@dataclass(frozen=True)
class StillEyes:
    """Measured movements of irises that should not move.

    Attributes:
        eyes: number of eyes.
        moved_px: mean length of the movement, in pixels of the patch.
        moved_deg: mean movement in degrees. The movement is converted to the rotation of an eyeball
            of average size.
        far_share: share of the eyes whose iris moves by more than 3 degrees.
        drift_px: mean of the movement vectors (x, y), in pixels of the patch. Positive y is down.
            Movements in opposite directions cancel each other.
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
    """Redirect every eye to its labelled gaze as on a device, and measure the movement of the iris.

    An eye is redirected less the nearer its source gaze is to the label, see
    `mggr_edge.pipeline.gating.gate_tolerance`.

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
    off_deg = angular_error_deg(source_deg, samples.gaze_deg)
    shifts, radii = [], []
    with progress("finding irises", len(samples)) as advance:
        for row, picture in enumerate(image_from_network(made["redirected"])):
            before = find_in_patch(samples.images[row], finder)
            after = find_in_patch(picture, finder)
            full = np.subtract(after.iris_centre, before.iris_centre)
            shifts.append(full * gate_tolerance(float(off_deg[row])).strength)
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
        f"{found.eyes} eyes redirected to their own gaze. Mean movement of the irises: "
        f"{found.moved_deg:.2f} degrees ({found.moved_px:.2f} px). Irises that move by more than "
        f"{_FAR_DEG:g} degrees: {found.far_share:.0%}. Mean of the movement vectors: "
        f"{x:+.2f} px to the right, {y:+.2f} px down"
    )

"""Calibration profile: fit the gaze error of the estimator for one person, and store it as JSON.

During a calibration, the person looks into the lens. The true gaze is then (0, 0), so the estimated
gaze in a frame is the error of the estimator at the head pose of this frame. A linear function of
the head pose is fitted to the errors: an offset, plus a slope times the head pose. A robust
regression ignores blinks and glances. If the head poses of the frames differ too little to
determine the slope, ridge regularisation shrinks the slope to 0.

References:
    [1] Huber, Ronchetti, Robust Statistics, 2009: M-estimates, iteratively reweighted.
    [2] Sokal, Monte Carlo Methods in Statistical Mechanics, 1997: integrated autocorrelation time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.folders import config_home
from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.errors import ConfigError, UsageError
from mggr_edge.geometry.angles import Gaze, angular_error_deg
from mggr_edge.models.contract import Contract
from mggr_edge.pipeline.gaze_correction import GazeCorrection, Pair, constant_correction

SCHEMA = 2
_FIRST_SCHEMA = 1
_FIRST_SCHEMA_FRAMES = 40
"""Number of frames that were used for a profile of schema 1. A profile of schema 1 stores the
median of the gazes in these frames."""

NO_PROFILE = "none"
"""Value of `--profile` that disables the profile."""


@dataclass(frozen=True)
class Profile:
    """Gaze error of an estimator for one person and one camera.

    Attributes:
        estimator_sha256: checksums of the files of the estimator, in all formats.
        correction: correction of the estimated gazes.
        frames: number of frames to which the correction was fitted.
        spread_deg: median distance between the estimates in these frames and the correction, in
            degrees; `None` if the file has schema 1.
        screen_deg: direction of the middle of the screen, relative to the lens: (pitch, yaw) in
            degrees, in the axes of the head. Only files of schema 1 contain this direction.
        schema: version of the file format. `read_profile` converts files of schema 1.
    """

    estimator_sha256: tuple[str, ...]
    correction: GazeCorrection
    frames: int
    spread_deg: float | None = None
    screen_deg: tuple[float, float] | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema}, expected {SCHEMA}")
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}, expected at least 1")
        # A comparison with NaN is always false. Therefore this condition also rejects NaN.
        if self.spread_deg is not None and not 0 <= self.spread_deg <= 180:
            raise ValueError(f"spread_deg is {self.spread_deg}, expected 0 to 180")
        if self.screen_deg is not None:
            Gaze(*self.screen_deg)

    @property
    def screen(self) -> Gaze | None:
        """Direction of the middle of the screen, relative to the lens; `None` if it is unknown."""
        return None if self.screen_deg is None else Gaze(*self.screen_deg)


@dataclass(frozen=True)
class _FirstProfile:
    """Profile of schema 1.

    The profile contains two estimated gazes of a person: one at the lens, and one at the middle of
    the screen.
    """

    estimator_sha256: tuple[str, ...]
    lens_deg: tuple[float, float]
    screen_deg: tuple[float, float]
    schema: int = _FIRST_SCHEMA

    def __post_init__(self) -> None:
        self.converted()

    def converted(self) -> Profile:
        """Return this profile in the current schema, with a constant offset.

        Raises:
            ValueError: the angles are not valid gaze angles.
        """
        lens, screen = Gaze(*self.lens_deg), Gaze(*self.screen_deg)
        return Profile(
            self.estimator_sha256,
            constant_correction(lens),
            _FIRST_SCHEMA_FRAMES,
            screen_deg=(screen.pitch_deg - lens.pitch_deg, screen.yaw_deg - lens.yaw_deg),
        )


def profile_file() -> Path | None:
    """Return the path of the user's profile, or `None` if no home folder is known.

    The path is `$XDG_CONFIG_HOME/mggr-edge/profile.json`. The default of `$XDG_CONFIG_HOME` is
    `~/.config`.
    """
    home = config_home()
    return None if home is None else home / "mggr-edge" / "profile.json"


def estimator_of(contract: Contract) -> tuple[str, ...]:
    """Return the checksums of all files of the estimator of a bundle."""
    return tuple(sorted(artifact.sha256 for artifact in contract.models.get("estimator", ())))


def write_profile(path: Path, profile: Profile, *, force: bool) -> None:
    """Write a profile to a temporary file, and rename this file to `path`.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, force=force) as temporary:
            temporary.write_text(json.dumps(plain(profile), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the profile {path} cannot be written: {error.strerror}",
            code="profile-not-writable",
            path=path,
            reason=error.strerror,
        ) from error


def read_profile(path: Path, contract: Contract) -> Profile:
    """Read a profile, and check that it was measured with the estimator of this bundle.

    Raises:
        UsageError: the file is missing or damaged, or it was measured with another estimator.
    """
    try:
        profile = _profile(read_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist; run `mggr-edge calibrate` to create a profile",
            code="profile-missing",
            path=path,
        ) from None
    except (OSError, ValueError, ConfigError) as error:
        raise UsageError(
            f"{path} is not a valid profile: {error}; calibrate again",
            code="profile-invalid",
            path=path,
            reason=str(error),
        ) from error
    if not set(profile.estimator_sha256) & set(estimator_of(contract)):
        raise UsageError(
            f"the profile {path} was measured with another model, and each model has its own "
            f"errors; calibrate again with this model, or pass --profile {NO_PROFILE}",
            code="profile-of-other-model",
            path=path,
        )
    return profile


def _profile(content: Any) -> Profile:
    """Return the profile from the content of a JSON file of schema 1 or 2."""
    is_first = (
        isinstance(content, Mapping) and content.get("schema", _FIRST_SCHEMA) == _FIRST_SCHEMA
    )
    return read(_FirstProfile, content).converted() if is_first else read(Profile, content)


def profile_path(named: str | None) -> Path | None:
    """Return the path of the named profile, or the path of the user's own profile.

    If no file is named, the path is that of the user's own profile. If also no home folder is
    known, the result is `None`.
    """
    return profile_file() if named in (None, NO_PROFILE) else Path(str(named))


def chosen_profile(named: str | None, *, own_camera: bool) -> Path | None:
    """Return the path of the profile to use.

    If the user named a profile, this profile is used. Otherwise, if the source is a camera of this
    machine and the user's own profile exists, the user's own profile is used.

    Args:
        named: path of a profile, which need not exist; `NO_PROFILE` for no profile; or `None` if
            the user named no profile.
        own_camera: True if the source is a camera of this machine.

    Returns:
        The path, or `None` if no profile is used.
    """
    if named == NO_PROFILE:
        return None
    if named is not None:
        return Path(named)
    path = profile_file() if own_camera else None
    return path if path is not None and path.is_file() else None


SLOPE_PRIOR = 0.15
"""Standard deviation of the slope between people, in degrees of gaze error per degree of head pose.
The value is based on the packaged estimator and on subjects 0001-0027 of the Columbia Gaze Data
Set, with five head yaws each. The slope of the yaw error per degree of head yaw has a standard
deviation of 0.14. The slope of the pitch error per degree of head yaw has a standard deviation of
0.04. The slopes per degree of head pitch are unknown, so `SLOPE_PRIOR` is also used for these
slopes."""

_HUBER, _BISQUARE = 1.345, 4.685
"""Thresholds of the weight functions, in standard deviations. With these thresholds, a regression
has an efficiency of 95 % if the errors are normally distributed [1]."""
_ITERATIONS = 20
_MAD_TO_STD = 1.4826
_LEAST_NOISE_DEG = 0.1
_RANGE_PERCENT = (2.5, 97.5)
"""Percentiles at which the range of head poses begins and ends. Head poses outside of this range
are ignored, because single estimated head poses may be wrong."""

_BLOCKS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CorrectionFit:
    """Fitted correction.

    Attributes:
        correction: the correction.
        spread_deg: median distance between the estimates and the correction, in degrees.
        determined: fraction of the slope that the frames determine, for the (pitch, yaw) of the
            head, each in [0, 1]. The regularisation shrinks the rest of the slope to 0.
    """

    correction: GazeCorrection
    spread_deg: float
    determined: Pair


def fit_correction(head_deg: ArrayLike, gaze_deg: ArrayLike) -> CorrectionFit:
    """Fit a correction by a robust ridge regression.

    The ridge parameter is the variance of the noise, divided by the prior variance of the slope
    (`SLOPE_PRIOR` squared). This ratio is multiplied by the autocorrelation time of the noise in
    frames, because the errors of neighbouring frames are correlated. The standard deviation of the
    noise is estimated from the median absolute residual.

    Args:
        head_deg: [N, 2] head poses, (pitch, yaw) in degrees, in the axes of the head. The frames
            must be in temporal order.
        gaze_deg: [N, 2] estimated gazes of a person who looks into the lens, (pitch, yaw) in
            degrees, in the axes of the head.

    Raises:
        ValueError: there are no frames, or an array has a wrong shape.
    """
    head, gaze = np.asarray(head_deg, np.float64), np.asarray(gaze_deg, np.float64)
    if head.ndim != 2 or head.shape[1] != 2 or head.shape != gaze.shape or not len(head):
        raise ValueError(f"head poses and gazes are [N, 2], got {head.shape} and {gaze.shape}")
    line = _Line(np.median(head, axis=0), np.median(gaze, axis=0), np.zeros((2, 2)))
    weights = np.ones(len(head))
    ridge = np.ones(2)
    for weigh in (_huber, _bisquare):  # the bisquare ignores outliers and needs a good start
        for _ in range(_ITERATIONS):
            residuals = gaze - line.at(head)
            noise_deg = np.maximum(
                _MAD_TO_STD * np.median(np.abs(residuals), axis=0), _LEAST_NOISE_DEG
            )
            weights = weigh(np.linalg.norm(residuals / noise_deg, axis=1))
            correlated = _autocorrelation_time(weights[:, None] * residuals / noise_deg)
            ridge = correlated * (noise_deg / SLOPE_PRIOR) ** 2
            line = _solved(head, gaze, weights, ridge)
    head_pitch_deg, head_yaw_deg = head_ranges_deg(head[weights > 0])
    (pitch_by_pitch, pitch_by_yaw), (yaw_by_pitch, yaw_by_yaw) = line.slope.tolist()
    correction = GazeCorrection(
        offset_deg=_pair(line.offset_deg),
        slope=((pitch_by_pitch, pitch_by_yaw), (yaw_by_pitch, yaw_by_yaw)),
        reference_deg=_pair(line.reference_deg),
        head_pitch_deg=head_pitch_deg,
        head_yaw_deg=head_yaw_deg,
    )
    spread_deg = float(np.median(np.linalg.norm(gaze - correction.offsets_deg(head), axis=1)))
    return CorrectionFit(correction, spread_deg, _determined(head, weights, ridge))


def head_ranges_deg(head_deg: ArrayLike) -> tuple[Pair, Pair]:
    """Return the ranges of pitch and yaw of head poses, each as (lowest, highest) in degrees.

    The smallest and the largest 2.5 % of the angles are ignored.

    Args:
        head_deg: [N, 2] head poses in degrees, (pitch, yaw).
    """
    low, high = np.percentile(np.asarray(head_deg, np.float64), _RANGE_PERCENT, axis=0)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def cross_validated_deg(head_deg: ArrayLike, gaze_deg: ArrayLike) -> tuple[float, float]:
    """Return the mean angular error in degrees before and after correction.

    The error after correction is cross-validated: the frames are divided into five blocks in
    temporal order. Each block is corrected by a fit to the other four blocks. The means also
    include frames that a fit ignores as outliers.

    Args:
        head_deg, gaze_deg: arrays as for `fit_correction`, with at least two frames.
    """
    head, gaze = np.asarray(head_deg, np.float64), np.asarray(gaze_deg, np.float64)
    left = np.empty_like(gaze)
    for block in np.array_split(np.arange(len(head)), min(_BLOCKS, len(head))):
        fit = fit_correction(np.delete(head, block, axis=0), np.delete(gaze, block, axis=0))
        left[block] = gaze[block] - fit.correction.offsets_deg(head[block])
    before, after = (float(angular_error_deg(one, (0.0, 0.0)).mean()) for one in (gaze, left))
    return before, after


@dataclass(frozen=True)
class _Line:
    reference_deg: Array
    offset_deg: Array
    slope: Array

    def at(self, head: Array) -> Array:
        return self.offset_deg + (head - self.reference_deg) @ self.slope.T


def _solved(head: Array, gaze: Array, weights: Array, ridge: Array) -> _Line:
    """Solve the weighted ridge regression, which shrinks the slope but not the offset."""
    reference, offset = (np.average(one, axis=0, weights=weights) for one in (head, gaze))
    centred = head - reference
    moments = (weights[:, None] * centred).T @ centred
    products = (weights[:, None] * centred).T @ (gaze - offset)
    slope = [
        np.linalg.solve(moments + ridge[axis] * np.eye(2), products[:, axis]) for axis in (0, 1)
    ]
    return _Line(reference, offset, np.array(slope))


def _determined(head: Array, weights: Array, ridge: Array) -> Pair:
    centred = head - np.average(head, axis=0, weights=weights)
    moments = (weights[:, None] * centred).T @ centred
    shares = np.linalg.solve(moments + ridge.mean() * np.eye(2), moments)
    return _pair(np.clip(np.diag(shares), 0.0, 1.0))


def _autocorrelation_time(noise: Array) -> float:
    """Return the number of successive frames per independent sample, at least 1 [2].

    Args:
        noise: [N, 2] residuals with a mean near zero.
    """
    count = len(noise)
    lags = [np.correlate(axis, axis, "full")[count - 1 :] for axis in noise.T]
    correlation: Array = np.sum(lags, axis=0)
    if not correlation[0] > 0:
        return 1.0
    positive = correlation / correlation[0]
    ends = np.flatnonzero(positive <= 0)
    upto = int(ends[0]) if len(ends) else count
    return float(max(1.0, 2.0 * positive[:upto].sum() - 1.0))


def _huber(distance: Array) -> Array:
    return np.minimum(1.0, _HUBER / np.maximum(distance, 1e-12))


def _bisquare(distance: Array) -> Array:
    return np.square(np.maximum(0.0, 1.0 - (distance / _BISQUARE) ** 2))


def _pair(values: Array) -> Pair:
    first, second = values
    return float(first), float(second)

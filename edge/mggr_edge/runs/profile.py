"""Calibration profile: fits the estimator's error for one person and stores it as JSON.

The true gaze of every frame is (0, 0), so the estimate is the estimator's error at that head pose.
A robust regression ignores blinks and glances, and ridge regularisation shrinks the slope towards
a constant offset as far as the frames do not determine it.

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
"""A profile of schema 1 is the median of so many frames."""

NO_PROFILE = "none"
"""In a profile's place: take none, whatever is there."""


@dataclass(frozen=True)
class Profile:
    """The error of an estimator for one person before one camera.

    Attributes:
        estimator_sha256: checksums of the estimator's files, in any format.
        correction: what is subtracted from estimated gazes.
        frames: number of frames that it was fitted to.
        spread_deg: median distance of those frames from it; None in a file of schema 1.
        screen_deg: direction of the middle of the screen from the lens, (pitch, yaw) in the axes
            of the head; only files of schema 1 hold it.
        schema: of the file; those of schema 1 are converted by `read_profile`.
    """

    estimator_sha256: tuple[str, ...]
    correction: GazeCorrection
    frames: int
    spread_deg: float | None = None
    screen_deg: tuple[float, float] | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}; calibrate again")
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}, expected at least 1")
        # Written so that nan fails too.
        if self.spread_deg is not None and not 0 <= self.spread_deg <= 180:
            raise ValueError(f"spread_deg is {self.spread_deg}, expected 0 to 180")
        if self.screen_deg is not None:
            Gaze(*self.screen_deg)

    @property
    def screen(self) -> Gaze | None:
        """Direction of the middle of the screen from the lens, where the file holds it."""
        return None if self.screen_deg is None else Gaze(*self.screen_deg)


@dataclass(frozen=True)
class _FirstProfile:
    """A file of schema 1: estimates of a look into the lens and one at the middle of the screen."""

    estimator_sha256: tuple[str, ...]
    lens_deg: tuple[float, float]
    screen_deg: tuple[float, float]
    schema: int = _FIRST_SCHEMA

    def __post_init__(self) -> None:
        self.converted()

    def converted(self) -> Profile:
        """The profile with a constant offset.

        Raises:
            ValueError: the angles are no angles of eyes.
        """
        lens, screen = Gaze(*self.lens_deg), Gaze(*self.screen_deg)
        return Profile(
            self.estimator_sha256,
            constant_correction(lens),
            _FIRST_SCHEMA_FRAMES,
            screen_deg=(screen.pitch_deg - lens.pitch_deg, screen.yaw_deg - lens.yaw_deg),
        )


def profile_file() -> Path | None:
    """`$XDG_CONFIG_HOME/mggr-edge/profile.json`, by default under `~/.config`.

    None where no home folder is known.
    """
    home = config_home()
    return None if home is None else home / "mggr-edge" / "profile.json"


def estimator_of(contract: Contract) -> tuple[str, ...]:
    """Checksums of a bundle's estimator, in whatever formats it is there."""
    return tuple(sorted(artifact.sha256 for artifact in contract.models.get("estimator", ())))


def write_profile(path: Path, profile: Profile, *, force: bool) -> None:
    """Writes a profile, as a whole or not at all.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, force=force) as temporary:
            temporary.write_text(json.dumps(plain(profile), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def read_profile(path: Path, contract: Contract) -> Profile:
    """Reads a profile that was measured with this bundle's estimator.

    Raises:
        UsageError: the file is missing, damaged, or of another estimator.
    """
    try:
        profile = _profile(read_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; `mggr-edge calibrate` writes a profile") from None
    except (OSError, ValueError, ConfigError) as error:
        raise UsageError(f"{path} is no profile: {error}; calibrate again") from error
    if not set(profile.estimator_sha256) & set(estimator_of(contract)):
        raise UsageError(
            f"{path} was measured with another model, and every model errs in its own way; "
            "calibrate again, or leave it out with --profile none"
        )
    return profile


def _profile(content: Any) -> Profile:
    """A profile of either schema from a JSON file's content."""
    is_first = (
        isinstance(content, Mapping) and content.get("schema", _FIRST_SCHEMA) == _FIRST_SCHEMA
    )
    return read(_FirstProfile, content).converted() if is_first else read(Profile, content)


def profile_path(named: str | None) -> Path | None:
    """The file that is named, or the user's own; None where no home folder is known."""
    return profile_file() if named in (None, NO_PROFILE) else Path(str(named))


def chosen_profile(named: str | None, *, own_camera: bool) -> Path | None:
    """Which profile is taken: the one that is named, or before this machine's camera the user's.

    Args:
        named: a file, there or not, `NO_PROFILE`, or None where nothing is said.
        own_camera: whether the source is a camera of this machine.
    """
    if named == NO_PROFILE:
        return None
    if named is not None:
        return Path(named)
    path = profile_file() if own_camera else None
    return path if path is not None and path.is_file() else None


SLOPE_PRIOR = 0.15
"""Standard deviation of the slope among people, in degrees per degree. Of the packaged estimator:
0.14 for the yaw error over the head's yaw, 0.04 for the pitch error (Columbia people 0001-0027,
five head yaws each); slopes over the head's pitch are not known and are treated alike."""

_HUBER, _BISQUARE = 1.345, 4.685
"""Limits in standard deviations, for 95 % efficiency with normal errors [1]."""
_ITERATIONS = 20
_MAD_TO_STD = 1.4826
_LEAST_NOISE_DEG = 0.1
_RANGE_PERCENT = (2.5, 97.5)
"""Single head poses may be wrong."""

_BLOCKS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CorrectionFit:
    """A fitted correction.

    Attributes:
        correction: the fit.
        spread_deg: median distance of the frames from it.
        determined: for pitch and yaw of the head, in [0, 1], which part of the slope comes from
            the frames; the rest is shrunk to 0.
    """

    correction: GazeCorrection
    spread_deg: float
    determined: Pair


def fit_correction(head_deg: ArrayLike, gaze_deg: ArrayLike) -> CorrectionFit:
    """Fits a correction by a robust ridge regression.

    The ridge's strength is the noise's variance over the prior variance of the slope
    (`SLOPE_PRIOR`), times the autocorrelation time of the noise in frames, because neighbouring
    frames repeat each other's errors. The noise's standard deviation is that of the residuals, by
    their median.

    Args:
        head_deg: [N, 2] head poses of frames in the order of time, (pitch, yaw), in the head's
            axes.
        gaze_deg: [N, 2] gazes that were estimated of a person who looks into the lens, likewise.

    Raises:
        ValueError: no frames, or other shapes.
    """
    head, gaze = np.asarray(head_deg, np.float64), np.asarray(gaze_deg, np.float64)
    if head.ndim != 2 or head.shape[1] != 2 or head.shape != gaze.shape or not len(head):
        raise ValueError(f"head poses and gazes are [N, 2], got {head.shape} and {gaze.shape}")
    line = _Line(np.median(head, axis=0), np.median(gaze, axis=0), np.zeros((2, 2)))
    weights = np.ones(len(head))
    ridge = np.ones(2)
    for weigh in (_huber, _bisquare):  # The second one rejects, and needs a good start.
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
    """(lowest, highest) pitch, then yaw, of [N, 2] head poses without the outermost 2.5 %."""
    low, high = np.percentile(np.asarray(head_deg, np.float64), _RANGE_PERCENT, axis=0)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def cross_validated_deg(head_deg: ArrayLike, gaze_deg: ArrayLike) -> tuple[float, float]:
    """Mean angular error before and after correction, in degrees.

    Each of five blocks of time is corrected by a fit to the other four. All frames count, also
    those that a fit rejects.

    Args:
        head_deg, gaze_deg: as for `fit_correction`, at least two frames.
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
    """The weighted ridge regression; offsets are not shrunk."""
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
    """Number of successive frames that hold one independent sample, at least 1 [2].

    Args:
        noise: [N, 2], of mean near zero.
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

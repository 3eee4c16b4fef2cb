"""Fits a `GazeCorrection` to estimates of a person who looks into the lens and turns the head.

The true gaze of every frame is (0, 0), so the estimate is the estimator's error at that head pose.
A robust regression ignores blinks and glances, and ridge regularisation shrinks the slope towards
a constant offset as far as the frames do not determine it.

References:
    [1] Huber, Ronchetti, Robust Statistics, 2009: M-estimates, iteratively reweighted.
    [2] Sokal, Monte Carlo Methods in Statistical Mechanics, 1997: integrated autocorrelation time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.pipeline.gaze_correction import GazeCorrection, Pair

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

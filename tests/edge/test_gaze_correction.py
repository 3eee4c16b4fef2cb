"""The correction of a gaze by the head pose, and its fit to a look into the lens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection, constant_correction
from mggr_edge.runs.profile import SLOPE_PRIOR, cross_validated_deg, fit_correction

angles = st.floats(-90, 90)
offsets = st.floats(-20, 20)
slopes = st.floats(-0.5, 0.5)
ranges = st.tuples(st.floats(-45, 45), st.floats(-45, 45)).map(lambda ends: tuple(sorted(ends)))
corrections = st.builds(
    GazeCorrection,
    offset_deg=st.tuples(offsets, offsets),
    slope=st.tuples(st.tuples(slopes, slopes), st.tuples(slopes, slopes)),
    reference_deg=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    head_pitch_deg=ranges,
    head_yaw_deg=ranges,
)


@given(angles, angles, angles, angles)
def test_without_calibration_nothing_is_corrected(
    pitch: float, yaw: float, head_pitch: float, head_yaw: float
) -> None:
    gaze = Gaze(pitch, yaw)
    assert NO_CORRECTION.corrected(gaze, head_pose=Gaze(head_pitch, head_yaw)) == gaze


@given(corrections, angles, angles)
def test_an_offset_never_exceeds_those_of_the_poses_seen(
    correction: GazeCorrection, pitch: float, yaw: float
) -> None:
    corners = [(p, y) for p in correction.head_pitch_deg for y in correction.head_yaw_deg]
    at_corners = correction.offsets_deg(corners)
    offset = correction.offsets_deg((pitch, yaw))
    assert (offset >= at_corners.min(axis=0) - 1e-9).all()
    assert (offset <= at_corners.max(axis=0) + 1e-9).all()
    clamped = [
        np.clip(pitch, *correction.head_pitch_deg),
        np.clip(yaw, *correction.head_yaw_deg),
    ]
    np.testing.assert_allclose(offset, correction.offsets_deg(clamped))


@given(corrections, angles, angles, offsets, offsets)
def test_a_gaze_is_corrected_by_the_offset_at_its_head_pose(
    correction: GazeCorrection, pitch: float, yaw: float, up: float, right: float
) -> None:
    head = Gaze(pitch, yaw)
    found = correction.corrected(Gaze(0, 0), head_pose=head)
    np.testing.assert_allclose(found.array(), -correction.offsets_deg((pitch, yaw)), atol=1e-4)
    moved = correction.moved((up, right)).corrected(Gaze(0, 0), head_pose=head)
    np.testing.assert_allclose(found.array() - moved.array(), (up, right), atol=1e-4)
    off_deg = correction.rounded().offsets_deg((pitch, yaw)) - correction.offsets_deg((pitch, yaw))
    assert np.abs(off_deg).max() < 0.05


def test_rows_of_the_slope_are_offsets_and_columns_heads() -> None:
    correction = GazeCorrection(
        (1.0, 2.0), ((0.1, 0.2), (0.3, -0.4)), (5.0, 0.0), (-10, 10), (-20, 20)
    )
    assert correction.offsets_deg((10, 0)) == pytest.approx((1 + 0.5, 2 + 1.5))
    assert correction.offsets_deg((5, 10)) == pytest.approx((1 + 2.0, 2 - 4.0))
    assert correction.offsets_deg((90, -90)) == pytest.approx((1 + 0.5 - 4, 2 + 1.5 + 8))
    assert constant_correction(Gaze(3, 4)).offsets_deg((50, -50)) == pytest.approx((3, 4))


@pytest.mark.parametrize(
    "fields",
    [
        {"offset_deg": (float("nan"), 0)},
        {"offset_deg": (91, 0)},
        {"slope": ((float("inf"), 0), (0, 0)), "head_pitch_deg": (-1, 1)},
        {"slope": ((9, 0), (0, 0)), "head_pitch_deg": (-20, 20)},
        {"reference_deg": (0, 100)},
        {"head_yaw_deg": (5, -5)},
        {"head_pitch_deg": (float("nan"), 5)},
    ],
)
def test_what_cannot_be_a_correction_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match=r"degrees|range"):
        GazeCorrection(**fields)


def _noise(rng: np.random.Generator, count: int, *, std: float, frames: float) -> NDArray:
    """[count, 2] autocorrelated noise of that standard deviation and length."""
    keep = np.exp(-1 / frames)
    steps = rng.normal(0, std * np.sqrt(1 - keep**2), (count, 2))
    noise = [rng.normal(0, std, 2)]
    for step in steps[1:]:
        noise.append(keep * noise[-1] + step)
    return np.array(noise)


def _look(
    rng: np.random.Generator, *, turn_deg: float
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Offset, slope, head poses and estimates of a person in 5 s: noise, blinks, one glance."""
    offset, slope = rng.normal(0, 4, 2), rng.normal(0, SLOPE_PRIOR, (2, 2))
    phase = np.linspace(0, 2 * np.pi, 150) + rng.uniform(0, 6)
    head = np.stack([0.5 * turn_deg * np.sin(2 * phase), turn_deg * np.sin(phase)], axis=1)
    head += _noise(rng, 150, std=0.3, frames=3)
    gaze = offset + head @ slope.T + _noise(rng, 150, std=1.0, frames=6)
    gaze[rng.random(150) < 0.03] += (-12, 0)
    begin = rng.integers(0, 125)
    gaze[begin : begin + 20] += (-8, 10)
    return offset, slope, head, gaze


def test_simulated_people_who_turn_their_heads() -> None:
    """A linear fit beats the median offset, finds the slopes, and its own account is honest."""
    rng = np.random.default_rng(0)
    errors, slope_errors, accounts = [], [], []
    for _ in range(12):
        offset, slope, head, gaze = _look(rng, turn_deg=16)
        fit = fit_correction(head, gaze)
        others = rng.uniform((-8, -16), (8, 16), (200, 2))
        true = offset + others @ slope.T
        constant = np.linalg.norm(true - np.median(gaze, axis=0), axis=1).mean()
        linear = np.linalg.norm(true - fit.correction.offsets_deg(others), axis=1).mean()
        errors.append((np.linalg.norm(true, axis=1).mean(), constant, linear))
        slope_errors.append(np.abs(np.array(fit.correction.slope) - slope).mean())
        accounts.append(cross_validated_deg(head, gaze))
        assert min(fit.determined) > 0.7
    none, constant, linear = np.mean(errors, axis=0)
    assert linear < 0.5 * constant < 0.5 * none
    assert np.mean(slope_errors) < 0.04
    before, after = np.mean(accounts, axis=0)
    # Held-out frames have the noise, blinks and glances of all frames.
    assert linear < after < 0.7 * before


@pytest.mark.parametrize("turn_deg", [0.0, 0.3, 1.0])
def test_a_head_that_hardly_turns_gives_no_wild_slope(turn_deg: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(8):
        offset, slope, head, gaze = _look(rng, turn_deg=turn_deg)
        fit = fit_correction(head, gaze)
        assert np.abs(fit.correction.slope).max() < 2 * SLOPE_PRIOR
        assert fit.determined[1] < 0.5
        anywhere = rng.uniform(-90, 90, (100, 2))
        assert np.ptp(fit.correction.offsets_deg(anywhere), axis=0).max() < 1.0
        at_middle = offset + head.mean(axis=0) @ slope.T
        assert np.abs(fit.correction.offsets_deg(head.mean(axis=0)) - at_middle).max() < 1.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0, 20), st.floats(0, 40))
def test_any_frames_give_a_bounded_correction(
    seed: int, count: int, turn_deg: float, noise_deg: float
) -> None:
    rng = np.random.default_rng(seed)
    head = np.clip(rng.normal(0, turn_deg, (count, 2)), -90, 90)
    gaze = np.clip(rng.normal(0, noise_deg, (count, 2)), -90, 90)
    fit = fit_correction(head, gaze)
    for axis, (low, high) in enumerate(
        (fit.correction.head_pitch_deg, fit.correction.head_yaw_deg)
    ):
        assert head[:, axis].min() <= low <= high <= head[:, axis].max()
    # Weighted means of the frames, and slopes that ridge and clamping keep near them.
    assert np.abs(fit.correction.offset_deg).max() <= np.abs(gaze).max() + 1e-9
    assert all(0 <= share <= 1 for share in fit.determined)
    assert np.isfinite(fit.spread_deg)


def test_frames_that_repeat_each_others_noise_determine_less() -> None:
    rng = np.random.default_rng(2)
    head = np.stack([np.zeros(150), 4 * np.sin(np.linspace(0, 6, 150))], axis=1)
    shares = [
        fit_correction(head, _noise(rng, 150, std=1.5, frames=frames)).determined[1]
        for frames in (0.1, 20.0)
    ]
    assert 1 - shares[1] > 2 * (1 - shares[0])


@pytest.mark.parametrize("shape", [(0, 2), (5, 3), (5,)])
def test_frames_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="head poses and gazes"):
        fit_correction(np.zeros(shape), np.zeros(shape))

"""Targets that move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.targets import MAX_PITCH_DEG, MAX_YAW_DEG, Glances, read_target_track
from refusals import refusal


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "targets.csv"
    path.write_text(text)
    return path


def test_a_table_is_followed_in_straight_lines_and_rests_at_its_ends(tmp_path: Path) -> None:
    path = written(tmp_path, "yaw_deg,note,time_s,pitch_deg\n0,here,1,-4\n10,,3,4\n10,there,4,4\n")
    aim = read_target_track(path)
    expected = {0.0: (-4, 0), 1.0: (-4, 0), 2.0: (0, 5), 3.5: (4, 10), 99.0: (4, 10)}
    for time_s, (pitch, yaw) in expected.items():
        assert aim.at(time_s) == Gaze(pitch, yaw)


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        ("", "targets-without-column", {"missing": "time_s, pitch_deg, yaw_deg"}),
        ("time_s,yaw_deg\n0,1\n", "targets-without-column", {"missing": "pitch_deg"}),
        ("time_s,pitch_deg,yaw_deg\n", "targets-empty", {}),
        (
            "time_s,pitch_deg,yaw_deg\n0,0,0\n1,up,0\n",
            "target-not-a-number",
            {"line": 3, "column": "pitch_deg", "found": "up"},
        ),
        (
            "time_s,pitch_deg,yaw_deg\n0,0,0\n1,2\n",
            "target-not-a-number",
            {"line": 3, "column": "yaw_deg", "found": ""},
        ),
        (
            "time_s,pitch_deg,yaw_deg\n0,0,40\n",
            "target-out-of-range",
            {"line": 2, "angle": "yaw", "found": 40.0, "limit": 30.0},
        ),
        (
            "time_s,pitch_deg,yaw_deg\n0,nan,4\n",
            "target-out-of-range",
            {"line": 2, "angle": "pitch", "found": "nan"},
        ),
        (
            "time_s,pitch_deg,yaw_deg\ninf,0,4\n",
            "target-time-not-finite",
            {"line": 2, "found": "inf"},
        ),
        (
            "time_s,pitch_deg,yaw_deg\n2,0,0\n2,0,1\n",
            "target-times-not-increasing",
            {"found": 2.0, "before": 2.0},
        ),
    ],
)
def test_a_table_that_cannot_be_followed_says_where(
    tmp_path: Path, text: str, code: str, fields: dict[str, object]
) -> None:
    with refusal(DataError, code, path=tmp_path / "targets.csv", **fields):
        read_target_track(written(tmp_path, text))


def test_a_table_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with refusal(DataError, "targets-not-readable", path=tmp_path / "gone.csv"):
        read_target_track(tmp_path / "gone.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0" * 9)
    with refusal(DataError, "targets-not-csv", path=tmp_path / "picture.csv"):
        read_target_track(tmp_path / "picture.csv")


def series(target: Gaze, *, seconds: float, seed: int = 0, rate: int = 200) -> np.ndarray:
    """[N, 2] degrees off the target, (pitch, yaw)."""
    aim = Glances(target, seed=seed)
    times = 5.0 + np.arange(int(seconds * rate)) / rate
    return np.array([aim.at(float(t)).array() - target.array() for t in times])


def test_glances_rest_on_the_target_and_come_back_to_it() -> None:
    off = np.linalg.norm(series(Gaze(3, -5), seconds=600), axis=1)
    resting = off < 1e-4
    starts = np.flatnonzero(resting[:-1] & ~resting[1:])
    ends = np.flatnonzero(~resting[:-1] & resting[1:])
    assert not starts[0] < 200  # not in the first second
    # 3.3 seconds of gaze and 0.95 of glance, on average.
    assert 600 / 4.25 * 0.85 < len(starts) < 600 / 4.25 * 1.15
    away_s = (ends - starts[: len(ends)]) / 200
    assert away_s.min() + 0.01 >= 0.5
    assert away_s.max() < 1.55
    held_s = (starts[1:] - ends[: len(starts) - 1]) / 200
    assert held_s.mean() == pytest.approx(3.3, abs=0.25)
    assert off.max() < np.hypot(11, 6) + 0.1
    assert off[~resting].mean() > 4


def test_a_glance_is_a_jump_and_no_leap() -> None:
    path = series(Gaze(0, 0), seconds=60, rate=1000)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1) * 1000
    # A saccade of ten degrees takes 43 ms: 350 degrees a second at its fastest.
    assert 150 < speed.max() < 450


def test_glances_follow_their_seed_and_stay_in_range() -> None:
    corner = Gaze(-MAX_PITCH_DEG, MAX_YAW_DEG)
    first, again, other = (series(corner, seconds=60, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[:, 0] >= -1e-4).all()
    assert (first[:, 1] <= 1e-4).all()


def test_after_a_long_pause_between_frames_it_begins_at_the_target() -> None:
    aim = Glances(Gaze(2, 3))
    aim.at(0.0)
    assert aim.at(100_000.0) == Gaze(2, 3)
    later = [aim.at(100_000 + t / 25) for t in range(250)]
    assert any(gaze.angle_to(Gaze(2, 3)) > 4 for gaze in later)


@pytest.mark.extended
@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0, 30.0, pytest.param(240.0, marks=pytest.mark.slow)])
def test_glances_take_the_same_share_of_seconds_at_any_rate(rate: float) -> None:
    aim = Glances(Gaze(0, 0), seed=1)
    frames = int(max(600 * rate, 300))
    away = [aim.at(number / rate).angle_to(Gaze(0, 0)) > 4 for number in range(frames)]
    # 0.95 s away after 3.3 s on the target, on average.
    assert np.mean(away) == pytest.approx(0.95 / 4.25, abs=0.08)


def test_glances_start_anew_with_another_video() -> None:
    aim = Glances(Gaze(3, 0), seed=1)
    for number in range(3000):
        aim.at(number / 25)
    assert aim.at(0.0) == Gaze(3, 0)
    assert any(aim.at(number / 25).angle_to(Gaze(3, 0)) > 4 for number in range(250))

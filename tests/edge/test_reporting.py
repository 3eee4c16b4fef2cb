"""Lines, drawings and tables about a run."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.common.process import resident_mb
from mggr_edge.common.timing import StageClock, no_stages
from mggr_edge.errors import DiskError, OutputExistsError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.drawing import mark, overlay
from mggr_edge.pipeline.results import Annotated, EyeResult, FaceResult, FrameResult, side_by_side
from mggr_edge.runs.console import FrameRate, PeriodicStats, StatusLine
from mggr_edge.runs.summary import open_metrics
from refusals import refusal

FRAME = np.full((240, 320, 3), 90, np.uint8)


def eye(side, x: float, **facts) -> EyeResult:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    outline = np.stack([x + 20 * np.cos(angles), 120 + 8 * np.sin(angles)], -1)
    said = {"gaze_before": Gaze(-10, 20), "gaze_target": Gaze(0, 0), "strength": 1.0}
    return EyeResult(side, outline.astype(np.float32), **{**said, "reason": None, **facts})


def result(frame: NDArray[np.uint8], **facts) -> FrameResult:
    eyes = (eye("right", 120), eye("left", 200, **facts))
    face = FaceResult(3, np.zeros((468, 3), np.float32), Gaze(1.234, -5), eyes)
    return FrameResult(frame, (face,))


def brighten(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    closed = {"gaze_before": None, "strength": 0.0, "reason": "closed"}
    return result(frame + np.uint8(50), **closed)


def test_every_frame_has_a_line(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    with open_metrics(path, brighten) as process:
        made = process(FRAME, time_s=0.04)
        process(FRAME)
        assert len(path.read_text().splitlines()) == 2  # at once, not at the end
    assert (made.frame == 140).all()
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["frame"], first["time_s"]) == (0, 0.04)
    assert (second["frame"], second["time_s"]) == (1, None)
    assert 0 <= first["took_ms"] < 1000
    (face,) = first["faces"]
    assert (face["id"], face["head_deg"]) == (3, [1.23, -5.0])
    assert face["eyes"] == [
        {
            "side": "right",
            "centre_px": [120.0, 120.0],
            "gaze_deg": [-10.0, 20.0],
            "target_deg": [0.0, 0.0],
            "strength": 1.0,
            "reason": None,
        },
        {
            "side": "left",
            "centre_px": [200.0, 120.0],
            "gaze_deg": None,
            "target_deg": [0.0, 0.0],
            "strength": 0.0,
            "reason": "closed",
        },
    ]


def test_lines_survive_a_run_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"

    def break_off(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        if time_s:
            raise ZeroDivisionError
        return brighten(frame)

    lines = open_metrics(path, break_off)
    with pytest.raises(ZeroDivisionError), lines as process:
        [process(FRAME, time_s=time_s) for time_s in (0.0, 1.0)]
    assert len(path.read_text().splitlines()) == 1


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    path.write_text("theirs")
    with pytest.raises(OutputExistsError), open_metrics(path, brighten):
        pass
    assert path.read_text() == "theirs"
    with open_metrics(path, brighten, force=True):
        assert path.read_text() == "theirs"  # until there is something to say
    with open_metrics(path, brighten, force=True) as process:
        process(FRAME)
    assert len(path.read_text().splitlines()) == 1
    folder = open_metrics(tmp_path, brighten, force=True)
    with refusal(UsageError, "metrics-is-folder", path=tmp_path), folder:
        pass


def test_a_run_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with open_metrics(tmp_path / "seen.jsonl", brighten):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_comes_into_being_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    with open_metrics(path, brighten) as process:
        path.write_text("theirs")
        with pytest.raises(OutputExistsError):
            process(FRAME)
    assert path.read_text() == "theirs"


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        refusal(DiskError, "metrics-write-failed", path=full, reason="no space left on device"),
        open_metrics(full, brighten, force=True) as process,
    ):
        process(FRAME)


def test_views_change_what_is_shown_and_nothing_else() -> None:
    shown = Annotated(brighten, side_by_side)(FRAME)
    np.testing.assert_array_equal(shown.frame[:, :320], FRAME)
    np.testing.assert_array_equal(shown.frame[:, 320:], FRAME + 50)
    assert shown.faces[0].identity == 3


def changed(shown: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray:
    """Places [N, 2] (x, y) that are painted in about that colour."""
    near = np.abs(shown.astype(int) - colour).max(axis=-1) < 40
    return np.argwhere(near)[:, ::-1]


def test_an_overlay_points_where_eyes_looked_and_shall_look() -> None:
    made = result(FRAME.copy(), gaze_target=Gaze(15, -25))
    shown = overlay(FRAME, made)
    assert (made.frame == 90).all()  # drawn on a copy
    white, green = changed(shown, (255, 255, 255)), changed(shown, (60, 220, 90))
    # Arrows begin 32 pixels above the eyes. The right eye looked down and to the image's right.
    tips = white[(white[:, 1] > 92) & (white[:, 0] < 160)]
    assert tips[:, 0].max() > 120 + 15
    # The left eye shall look up and to the image's left.
    aimed = green[(green[:, 1] < 84) & (green[:, 0] > 165)]
    assert aimed[:, 0].min() < 200 - 15
    # Both outlines are green.
    assert all(len(green[np.abs(green[:, 0] - x) < 22]) > 40 for x in (120, 200))


def test_an_overlay_shows_who_is_left_alone() -> None:
    alone = overlay(FRAME, brighten(FRAME))
    red = changed(alone, (240, 80, 70))
    assert len(red) > 40
    assert np.abs(red[:, 0] - 200).max() <= 22  # the left eye alone
    weak = overlay(FRAME, result(FRAME.copy(), strength=0.4, reason="head turned"))
    assert len(changed(weak, (250, 200, 40))) > 40


def test_an_overlay_of_nobody_is_the_frame() -> None:
    np.testing.assert_array_equal(overlay(FRAME, FrameResult(FRAME, ())), FRAME)


def test_a_mark_stands_in_a_corner_while_anybody_is_redirected() -> None:
    made = result(FRAME.copy())
    marked = mark(FRAME, made)
    assert (made.frame == 90).all()
    rows, columns = np.nonzero((marked != 90).any(axis=-1))
    assert rows.min() > 240 * 0.9
    assert columns.min() > 320 * 0.75
    assert rows.max() < 239
    assert columns.max() < 319
    nobody = result(FRAME.copy(), strength=0.0, reason="closed")
    right, left = nobody.faces[0].eyes
    alone = replace(nobody.faces[0], eyes=(replace(right, strength=0.0), left))
    assert mark(FRAME, FrameResult(nobody.frame, (alone,))) is nobody.frame


def test_a_clock_tells_medians_and_shares() -> None:
    clock = StageClock()
    for _ in range(3):
        with clock("short"):
            time.sleep(0.002)
        with clock("long"):
            time.sleep(0.02)
    totals = clock.totals_s()
    assert list(totals) == ["short", "long"]
    assert totals["long"] >= 0.06
    assert totals["short"] >= 0.006
    heading, short, long = clock.table().splitlines()
    assert heading.split() == ["stage", "median", "p95", "share"]
    assert short.startswith("short")
    assert float(long.split()[1]) >= 20
    assert int(long.split()[-1].rstrip("%")) > int(short.split()[-1].rstrip("%"))


def test_a_stage_that_fails_is_timed_and_fails() -> None:
    clock = StageClock()
    with pytest.raises(ZeroDivisionError), clock("broken"):
        raise ZeroDivisionError
    assert list(clock.totals_s()) == ["broken"]
    with no_stages("anything"):
        pass
    assert StageClock().table().splitlines()[1:] == []


class Clock:
    """Time that goes by as set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mggr_edge.runs.console.time", clock)
    return clock


def test_a_table_comes_every_so_often_and_counts_since_the_last(clock: Clock) -> None:
    stages, said = StageClock(), []
    process = PeriodicStats(brighten, stages.table, every_s=2.0, notify=said.append)
    for step_s in [0.5] * 4 + [0.25] * 9:
        clock.now += step_s
        with stages("find faces"):
            pass
        assert process(FRAME).frame[0, 0, 0] == 140
    numbers = [
        [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text.splitlines()[0])]
        for text in said
    ]
    assert [found[:2] for found in numbers] == [[2.0, 4], [4.0, 12]]
    held = resident_mb()
    if held is not None:  # the system tells
        assert numbers[1][2] == pytest.approx(held, rel=0.2)
    assert all("find faces" in text for text in said)


def test_the_rate_is_of_the_last_two_seconds(clock: Clock) -> None:
    rate = FrameRate()
    assert rate.tick() == 0
    for _ in range(100):
        clock.now += 0.1
        slow = rate.tick()
    for _ in range(100):
        clock.now += 0.04
        fast = rate.tick()
    assert (slow, fast) == (pytest.approx(10), pytest.approx(25))


def test_the_status_is_written_into_the_corner_of_a_copy(clock: Clock) -> None:
    made = result(FRAME)
    shown = StatusLine(lambda: "strength 1.0")(FRAME, made)
    changed = np.argwhere((shown != made.frame).any(-1))
    assert (made.frame == 90).all()
    assert len(changed) > 50
    assert changed.max(0)[0] < 30, "a line at the top"

"""Less work when there is too much, more when there is room, and no to and fro."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from mggr_edge.runs.service import load_shedding as workload_module
from mggr_edge.runs.service.load_shedding import (
    FrameSkipper,
    Level,
    Load,
    LoadController,
    hottest_c,
)

IDLE, FULL, OVER = (Load(25, 25, busy_s, 1.0) for busy_s in (0.2, 0.85, 1.5))


class Machine:
    """A machine of some temperature, and what was said of it."""

    def __init__(self, *, has_coarse: bool = True) -> None:
        self.celsius: float | None = 50.0
        self.said: list[str] = []
        self.has_coarse = has_coarse
        self.pressure = LoadController(
            has_coarse=lambda: self.has_coarse,
            temperature=lambda: self.celsius,
            notify=self.said.append,
        )

    def look(self, load: Load, times: int = 1) -> list[Level]:
        levels = []
        for _ in range(times):
            self.pressure.look(load)
            levels.append(self.pressure.level)
        return levels


def test_too_much_for_two_seconds_is_a_step_and_a_moment_is_none() -> None:
    machine = Machine()
    machine.look(OVER)
    machine.look(FULL)
    machine.look(OVER)
    assert machine.pressure.level is Level.ALL
    assert machine.look(OVER) == [Level.COARSE]
    (text,) = machine.said
    assert "150%" in text
    assert text.endswith(Level.COARSE.in_words())


def test_two_steps_down_and_no_further_and_up_again() -> None:
    machine = Machine()
    # Twice too much is just enough when half of the frames are taken.
    assert machine.look(Load(25, 25, 2.2, 1.0), 8)[1::2] == [Level.COARSE] + 3 * [Level.HALF]
    assert machine.look(IDLE, 6)[2::3] == [Level.COARSE, Level.ALL]
    levels = [Level.COARSE, Level.HALF, Level.COARSE, Level.ALL]
    assert len(machine.said) == len(levels)
    for text, level in zip(machine.said, levels, strict=True):
        assert text.endswith(level.in_words())
    assert "220%" in machine.said[1]
    assert not any("%" in text for text in machine.said[2:])


def test_a_step_up_wants_room_for_what_it_brings() -> None:
    machine = Machine()
    machine.look(OVER, 2)
    half_full = Load(25, 25, 0.5, 1.0)
    assert machine.look(half_full, 20)[-1] is Level.COARSE
    assert machine.look(Load(25, 25, 0.4, 1.0), 3)[-1] is Level.ALL


def test_a_step_up_that_was_too_early_is_not_repeated_soon() -> None:
    machine = Machine()
    machine.look(OVER, 2)
    waits = []
    for _ in range(4):
        waits.append(machine.look(IDLE, 100).index(Level.ALL) + 1)
        machine.look(OVER, 2)
    # It is up for many seconds after each climb here, so nothing was too early.
    assert waits == [3, 3, 3, 3]
    machine = Machine()
    machine.look(OVER, 2)
    waits = []
    for _ in range(4):
        count = 0
        while machine.pressure.level is not Level.ALL:
            machine.look(IDLE)
            count += 1
        waits.append(count)
        machine.look(OVER, 2)
    assert waits == [3, 6, 12, 24]


def test_heat_steps_down_whatever_the_load_is_and_up_only_when_it_is_cooler() -> None:
    machine = Machine()
    machine.celsius = 86.0
    assert machine.look(IDLE, 12) == [Level.ALL, *11 * [Level.COARSE]]
    assert machine.look(IDLE, 10)[-1] is Level.HALF
    assert "86 °C" in machine.said[0]
    assert machine.said[0].endswith(Level.COARSE.in_words())
    machine.celsius = 80.0
    assert machine.look(IDLE, 20)[-1] is Level.HALF
    machine.celsius = 77.0
    assert machine.look(IDLE, 20)[-1] is Level.ALL


def test_a_machine_that_tells_no_temperature_is_not_hot() -> None:
    machine = Machine()
    machine.celsius = None
    machine.look(OVER, 2)
    assert machine.look(IDLE, 3)[-1] is Level.ALL


def test_where_the_fine_branch_cannot_be_left_out_frames_are() -> None:
    machine = Machine(has_coarse=False)
    assert machine.look(OVER, 2)[-1] is Level.HALF
    assert machine.look(IDLE, 3)[-1] is Level.ALL


def test_a_bundle_without_a_coarse_branch_that_comes_later_takes_no_step_that_it_has_not() -> None:
    machine = Machine()
    machine.look(OVER, 2)
    machine.has_coarse = False  # the bundle was replaced
    assert machine.look(OVER, 2)[-1] is Level.HALF
    assert machine.look(IDLE, 3)[-1] is Level.ALL


def test_a_still_camera_is_no_load() -> None:
    assert Load(0, 0, 0.0, 5.0).share == 0.0
    assert Load(30, 10, 1.0, 1.0).share == pytest.approx(3.0)


def test_a_camera_slower_than_the_look_gets_all_of_its_work_back() -> None:
    """Half of its frames are left out, so that nothing is done in every second while."""
    machine = Machine()
    machine.celsius = 90.0
    machine.look(IDLE, 20)
    assert machine.pressure.level is Level.HALF
    machine.celsius = 50.0
    for _ in range(6):
        machine.look(Load(1, 1, 0.1, 2.0))
        machine.look(Load(1, 0, 0.0, 2.0))
    assert machine.pressure.level is Level.ALL


def test_heat_counts_while_nothing_is_done() -> None:
    machine = Machine()
    machine.celsius = 90.0
    assert machine.look(Load(0, 0, 0.0, 5.0), 2)[-1] is Level.COARSE


def test_the_hottest_believable_zone_counts(tmp_path: Path) -> None:
    assert hottest_c(tmp_path) is None
    for number, text in enumerate(["-256000", "61500\n", "48000", "no number", "900000"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()  # refuses to be read
    assert hottest_c(tmp_path) == 61.5


class Clock:
    """Time as the test sets it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Camera:
    """A camera behind a reader that keeps the newest frame only, by a scripted clock.

    Args:
        rate: frames per second.
        work_s: of a frame, with and without the fine branch.
    """

    machine: Machine
    clock: Clock
    rate: float
    work_s: tuple[float, float]

    def __post_init__(self) -> None:
        self.fine = True
        self.workload = FrameSkipper(self.machine.pressure, self._set_fine)
        self.starts_s: list[float] = []
        self.busy_s = 0.0

    def _set_fine(self, fine: bool) -> None:
        self.fine = fine

    def run(self, until_s: float) -> None:
        """Takes the newest frame again and again, as `live_run` does."""
        self.starts_s, self.busy_s = [], 0.0
        last = -1
        while self.clock.now < until_s:
            newest = int(self.clock.now * self.rate + 1e-9)
            if newest == last:
                self.clock.now = (last + 1) / self.rate  # waits for the next one
                continue
            last = newest
            if self.workload.takes(newest):
                self.starts_s.append(self.clock.now)
                with self.workload.work():
                    self.clock.now += self.work_s[0 if self.fine else 1]
                self.busy_s += self.work_s[0 if self.fine else 1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(workload_module, "time", clock)
    return clock


@pytest.mark.parametrize("rate", [5.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize("work_ms", [2, 10, 30, 35, 100, 400])
def test_the_second_step_halves_the_work_of_any_machine(
    clock: Clock, rate: float, work_ms: int
) -> None:
    work_s = work_ms / 1000
    whole = Camera(Machine(), clock, rate, (work_s, work_s))
    whole.machine.pressure.look = lambda load: None  # as without load shedding
    whole.run(20.0)
    camera = Camera(Machine(), clock, rate, (work_s, work_s))
    camera.machine.celsius = 95.0
    camera.run(100.0)
    assert camera.machine.pressure.level is Level.HALF
    camera.run(120.0)
    # A frame more or less at the ends.
    assert len(camera.starts_s) <= len(whole.starts_s) / 2 + 1
    assert camera.busy_s <= whole.busy_s / 2 + work_s
    # And no less than a third is left, where frames arrive often enough to choose among them.
    assert len(camera.starts_s) >= len(whole.starts_s) / 3.1 - 1
    assert camera.workload.left_out > 0


def test_a_hot_slow_machine_takes_both_steps_apart(clock: Clock) -> None:
    """100 ms a frame at 30 frames a second and 95 degrees."""
    camera = Camera(Machine(), clock, 30.0, (0.1, 0.07))
    camera.machine.celsius = 95.0
    camera.run(10.0)
    assert camera.machine.pressure.level is Level.COARSE
    assert not camera.fine
    assert camera.workload.left_out == 0
    camera.run(25.0)
    assert camera.machine.pressure.level is Level.HALF
    camera.run(35.0)
    gaps_s = [b - a for a, b in pairwise(camera.starts_s)]
    assert min(gaps_s) >= 2 * 0.07
    assert camera.busy_s <= 0.5 * 10 + 0.07


def test_a_slow_machine_that_is_cool_keeps_its_rate(clock: Clock) -> None:
    camera = Camera(Machine(), clock, 30.0, (0.1, 0.1))
    camera.run(60.0)
    assert camera.machine.pressure.level is Level.HALF
    camera.run(80.0)
    assert len(camera.starts_s) == pytest.approx(200, abs=2)


def test_a_step_that_cools_is_given_time(clock: Clock) -> None:
    camera = Camera(Machine(), clock, 30.0, (0.02, 0.01))
    for second in range(60):
        # The first step comes at 2 s; then it cools by half a degree every five seconds.
        camera.machine.celsius = 95.0 - 0.5 * (second // 5)
        camera.run(second + 1.0)
    assert camera.machine.pressure.level is Level.COARSE
    for second in range(60, 80):
        camera.run(second + 1.0)  # no cooler any more, and still hot
    assert camera.machine.pressure.level is Level.HALF


def test_a_camera_slower_than_its_work_loses_every_second_frame_only(clock: Clock) -> None:
    camera = Camera(Machine(), clock, 4.0, (0.02, 0.02))
    camera.machine.celsius = 95.0
    camera.run(40.0)
    camera.run(60.0)
    assert len(camera.starts_s) == pytest.approx(40, abs=1)

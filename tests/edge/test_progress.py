"""A bar on a terminal after two seconds; silence everywhere else."""

from __future__ import annotations

import io
import re
import sys

import pytest

from mggr_edge.common import progress as module
from mggr_edge.common.progress import no_progress, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "time", clock.time)
    return clock


def shown(clock: Clock, *, steps: int, seconds: float, total: int | None) -> str:
    """What a terminal gets. Not a fixture: pytest sets its own stderr before each phase."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with progress("encoding", total) as advance:
            for _ in range(steps):
                clock.now += seconds
                advance()
    return terminal.getvalue()


def test_long_work_shows_a_bar_with_the_time_left(clock: Clock) -> None:
    text = shown(clock, steps=8, seconds=1.0, total=100)
    assert "encoding" in text
    assert "8/100" in text
    # One second a step and 92 to go; a bar that forgot the first steps would say less.
    *_, last = re.findall(r"00:(\d\d):(\d\d)", text)
    assert int(last[0]) * 60 + int(last[1]) == pytest.approx(92, abs=2)


def test_short_work_shows_nothing(clock: Clock) -> None:
    assert shown(clock, steps=10, seconds=0.1, total=10) == ""


def test_an_unknown_total_is_allowed(clock: Clock) -> None:
    assert "encoding" in shown(clock, steps=5, seconds=1.0, total=None)


def test_more_steps_than_foretold_are_allowed(clock: Clock) -> None:
    assert "4/4" in shown(clock, steps=9, seconds=1.0, total=4)


def test_the_cursor_comes_back_after_an_error(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def interrupted() -> None:
        with progress("encoding", 10) as advance:
            clock.now += 3
            advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rfind(show) > terminal.getvalue().rfind(hide) >= 0


@pytest.mark.parametrize("maker", [progress, no_progress])
def test_silent_when_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, maker
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with maker("encoding", 10) as advance:
        for _ in range(10):
            clock.now += 1
            advance(1)
    assert stream.getvalue() == ""


def test_counts_become_steps() -> None:
    from mggr_edge.common.progress import from_counts

    steps: list[int] = []
    tell = from_counts(steps.append)
    for done in (3, 5, 9):
        tell(done, 9)
    assert steps == [3, 2, 4]

"""Signals end a live run once, or at once for somebody who does not want to wait."""

from __future__ import annotations

import signal
import threading

import pytest

from mggr_edge.common import process as stopping
from mggr_edge.common.process import stopped_by_signals


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopping, "time", clock)
    return clock


def test_what_comes_at_once_is_one_wish_to_end_and_what_comes_later_is_impatience(
    clock: Clock,
) -> None:
    stop = threading.Event()
    with stopped_by_signals(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        clock.now += 0.02
        signal.raise_signal(signal.SIGTERM)  # of a program that hands Ctrl-C on
        clock.now += 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_closed_terminal_ends_a_live_run_unless_that_is_ignored() -> None:
    stop = threading.Event()
    with stopped_by_signals(stop):
        signal.raise_signal(signal.SIGHUP)
    assert stop.is_set()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        stop.clear()
        with stopped_by_signals(stop):
            signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back_and_other_threads_have_none() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopped_by_signals(threading.Event()):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    entered = []

    def enter() -> None:
        with stopped_by_signals(threading.Event()):
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == before[1:]


def test_handlers_of_a_program_around_python_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python gives None for such a handler, and cannot install it again."""
    known = signal.getsignal
    monkeypatch.setattr(
        signal, "getsignal", lambda number: None if number == signal.SIGTERM else known(number)
    )
    before = known(signal.SIGTERM)
    with stopped_by_signals(threading.Event()):
        assert known(signal.SIGTERM) is before
        assert known(signal.SIGINT) is not signal.default_int_handler
    assert known(signal.SIGINT) is signal.default_int_handler

"""SIGINT, SIGTERM and SIGHUP as an event: a live run ends as if its source had ended."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_ONE_S = 1.0
"""What comes within this time is one wish to end: Ctrl-C goes to a whole group of processes, and a
program that started this one may hand on its own."""


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Sets `stop` when a signal comes; a later one is for somebody who does not want to wait.

    Signals reach the main thread alone: in another one this does nothing. Handlers that a program
    around Python has installed, in C, stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked_s: float | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_s
        if asked_s is None:
            asked_s = time.monotonic()
            stop.set()
        elif time.monotonic() - asked_s > _ONE_S:
            raise KeyboardInterrupt

    heard = [*_SIGNALS]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup` ignores it
        heard.append(signal.SIGHUP)
    # None: of a program around Python, which could not be put back.
    heard = [number for number in heard if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

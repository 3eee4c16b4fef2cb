"""Ctrl-C and SIGTERM between two steps, never within one: what is saved then is a whole step.

SIGTERM is what a cluster says before it takes a machine away. A program that it ended has the code
143, so that who started it knows to start it again with `--resume`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, PREEMPTED = 130, 143
"""Exit codes: 128 and the signal's number, as shells have it."""


class Preempted(KeyboardInterrupt):
    """SIGTERM came; what was trained is kept."""


class Impatient(KeyboardInterrupt):
    """A second signal came before the first was heeded: nothing more can be kept."""


class Signals:
    """Which signal came, if any."""

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def came(self) -> bool:
        """Whether one did."""
        return self._first is not None

    def heed(self) -> None:
        """Raises what the signal asked for; SIGTERM's, where another worker's came.

        Raises:
            KeyboardInterrupt: SIGINT came.
            Preempted: any other.
        """
        raise KeyboardInterrupt if self._first == signal.SIGINT else Preempted

    def note(self, number: int, frame: FrameType | None) -> None:
        """Takes note of a signal; the second one does not wait."""
        if self.came:
            raise Impatient
        self._first = number


@contextmanager
def held_back_signals() -> Iterator[Signals]:
    """Gives what knows of SIGINT and SIGTERM; look at it between two steps.

    In another thread than the main one nothing is held back, as signals do not reach it.

    Raises:
        Impatient: a second signal came.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    held = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signals.note) for number in held}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

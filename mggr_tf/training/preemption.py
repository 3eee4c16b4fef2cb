"""Hold Ctrl-C, SIGTERM and SIGHUP back until the end of a training step.

What is saved is then the state after a whole step. Clusters send SIGTERM before they take a machine
away; SIGHUP comes when a terminal is closed. The exit code is 128 and the signal's number, so that
a script can start the training again with `--resume`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mggr_edge.common.process import exit_code

INTERRUPTED = exit_code(signal.SIGINT)


class Preempted(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; what was trained is kept.

    Attributes:
        code: exit code of the program.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.code = exit_code(number)


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
        if self._first == signal.SIGINT:
            raise KeyboardInterrupt
        raise Preempted if self._first is None else Preempted(self._first)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Takes note of a signal; the second one does not wait."""
        if self.came:
            raise Impatient
        self._first = number


@contextmanager
def held_back_signals() -> Iterator[Signals]:
    """Gives what knows of SIGINT, SIGTERM and SIGHUP; look at it between two steps.

    In another thread than the main one nothing is held back, as signals do not reach it.

    Raises:
        Impatient: a second signal came.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    held = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup` ignores it
        held.append(signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in held}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Ctrl-C and SIGTERM between two steps, never within one: what is saved then is a whole step.

SIGTERM is what a cluster says before it takes a machine away. A program that it ended has the code
143, so that who started it knows to start it again with `--resume`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, PREEMPTED = 130, 143
"""Exit codes: 128 and the signal's number, as shells have it."""


class Preempted(KeyboardInterrupt):
    """SIGTERM came; what was trained is kept."""


@contextmanager
def held_back_signals() -> Iterator[Callable[[], None]]:
    """Gives what is called between two steps: it raises what a signal has asked for meanwhile.

    A second signal does not wait. In another thread than the main one nothing is held back, as
    signals do not reach it.

    Raises:
        KeyboardInterrupt: SIGINT came.
        Preempted: SIGTERM came.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    def look() -> None:
        if asked:
            raise Preempted if asked[0] == signal.SIGTERM else KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield look
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield look
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

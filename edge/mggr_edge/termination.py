"""End a command on SIGTERM or SIGHUP as an exception does, so that half-written files go away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes when a terminal or an SSH connection is closed."""


def exit_code(number: int) -> int:
    """Exit code of a program that a signal ended: 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raises `SystemExit` with `exit_code` when SIGTERM or SIGHUP comes.

    Later ones are ignored, so that they do not interrupt the removal of temporary files. A signal
    that is ignored already stays so (`nohup`), and code within may set handlers of its own.
    Signals reach the main thread only: in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for one in held:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(exit_code(number))

    for number in held:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.SIG_DFL)

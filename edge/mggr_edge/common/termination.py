"""End a command on SIGTERM or SIGHUP as an exception does, so that half-written files go away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes when a terminal or an SSH connection is closed."""

_CLEANING_S = 5.0
"""Longer than the removal of temporary files takes."""


def exit_code(number: int) -> int:
    """Exit code of a program that a signal ended: 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raises `SystemExit` with `exit_code` when SIGTERM or SIGHUP comes.

    Those that follow within `_CLEANING_S` are ignored, so that they do not interrupt the removal of
    temporary files. A later one raises again: libraries exist that catch every exception, and the
    first `SystemExit` may have been one of those. A signal that is ignored already stays so
    (`nohup`), and code within may set handlers of its own.
    Signals reach the main thread only: in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]

    asked_s: float | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_s
        if asked_s is not None and time.monotonic() - asked_s < _CLEANING_S:
            return
        asked_s = time.monotonic()
        raise SystemExit(exit_code(number))

    for number in held:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.SIG_DFL)

"""Exit of a process one of whose reader threads hangs in a driver."""

from __future__ import annotations

import os
import sys
import threading
from weakref import WeakSet

_abandoned: WeakSet[threading.Thread] = WeakSet()


def abandon(reader: threading.Thread) -> None:
    """Records a reader thread that did not end when it was asked to.

    Args:
        reader: a daemon thread that is blocked in a driver.
    """
    _abandoned.add(reader)


def exit_if_readers_hang(code: int) -> None:
    """Ends the process at once if an abandoned reader is still running; otherwise returns.

    The interpreter's own shutdown crashes when the driver returns to such a thread in that moment.
    All recordings are complete by then. Only the entry point of a program may call this function,
    because it ends the process without running any other clean-up.

    Args:
        code: exit code of the process.
    """
    if any(reader.is_alive() for reader in _abandoned):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it is None if the program was started without one
                stream.flush()
        os._exit(code)

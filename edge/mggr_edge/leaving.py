"""The end of a process one of whose threads hangs in a driver."""

from __future__ import annotations

import os
import sys
import threading

READER = "capture"
"""Name of the threads that read live sources, and are not waited for when they hang."""


def leave_readers_behind(code: int) -> None:
    """Ends the process at once where a reader still hangs; does nothing where none does.

    Python's own end takes the interpreter apart beneath such a thread, which crashes when the
    driver lets it go in that moment. All that was recorded is written by then.
    """
    if any(thread.name == READER for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

"""Drop the informational messages that a TFLite runtime prints while it loads a model.

The runtimes write to file descriptor 2 from C++, once per process, and have no Python interface to
their log level: "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." Warnings and errors are
passed on.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_INFORMATION = re.compile(rb"INFO: .*(TensorFlow Lite|TfLite|LiteRT|XNNPACK|delegate)", re.DOTALL)
_one_at_a_time = threading.Lock()
_LATE_S = 0.001
"""What another thread's write may still take that began before the end."""


@contextmanager
def without_information() -> Iterator[None]:
    """Holds back what is written to standard error, and passes it on without such messages.

    Other threads may write meanwhile: their lines are passed on at the end, in order. The buffer is
    in memory, so that nothing depends on a writable folder. Where the system has no such buffer, or
    no standard error is open, nothing is held back.
    """
    with _one_at_a_time:
        try:
            real, buffer = os.dup(_STDERR), _buffer()
        except (AttributeError, ImportError, OSError):
            yield
            return
        _flush()
        os.dup2(buffer, _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(real, _STDERR)
            os.close(real)
            _pass_on(buffer)


def _buffer() -> int:
    """A file in memory that every write is appended to, wherever others read or write."""
    import fcntl

    buffer = os.memfd_create("stderr")
    fcntl.fcntl(buffer, fcntl.F_SETFL, os.O_APPEND)
    return buffer


def _pass_on(buffer: int) -> None:
    try:
        read = 0
        for wait_s in (0.0, _LATE_S):
            time.sleep(wait_s)
            # Not from the file's own position, which writes to a copy of it move.
            while held := os.pread(buffer, 1 << 20, read):
                read += len(held)
                for line in held.splitlines(keepends=True):
                    if not _INFORMATION.match(line):
                        os.write(_STDERR, line)
    finally:
        os.close(buffer)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()

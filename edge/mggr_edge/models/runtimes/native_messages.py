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
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_INFORMATION = re.compile(rb"INFO: .*(TensorFlow Lite|TfLite|LiteRT|XNNPACK|delegate)", re.DOTALL)
_one_at_a_time = threading.Lock()


@contextmanager
def without_information() -> Iterator[None]:
    """Holds back what is written to standard error, and passes it on without such messages.

    Other threads may write meanwhile: their lines are passed on at the end, in order. The buffer is
    in memory, so that nothing depends on a writable folder. Where the system has no such buffer, or
    no standard error is open, nothing is held back.
    """
    with _one_at_a_time:
        try:
            real, buffer = os.dup(_STDERR), os.memfd_create("stderr")
        except (AttributeError, OSError):
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


def _pass_on(buffer: int) -> None:
    with open(buffer, "rb") as held:
        held.seek(0)
        for line in held:
            if not _INFORMATION.match(line):
                os.write(_STDERR, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()

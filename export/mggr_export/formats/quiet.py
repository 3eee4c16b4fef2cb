"""Keeps the converters' chatter off the terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from tempfile import TemporaryFile
from typing import TextIO

from mggr_edge.errors import MggrError

_STDERR = 2


@contextmanager
def quiet_converter() -> Iterator[None]:
    """Hides what C++ code prints to stderr and what packages warn of; our own output still shows.

    TensorFlow's converter prints tables of ops to file descriptor 2 whatever
    the log level is. When something fails that is not the user's mistake, all
    of it is shown after all.
    """
    level = logging.root.manager.disable
    sys.stderr.flush()
    real = os.dup(_STDERR)
    with TemporaryFile() as sink, os.fdopen(real, "w", buffering=1) as shown:
        os.dup2(sink.fileno(), _STDERR)
        logging.disable(logging.WARNING)
        try:
            with redirect_stderr(shown) if _writes_to_descriptor(sys.stderr) else nullcontext():
                yield
        except MggrError:
            raise
        except Exception:
            sink.seek(0)
            shown.write(sink.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(real, _STDERR)
            logging.disable(level)


def _writes_to_descriptor(stream: TextIO) -> bool:
    """False where a test or a notebook has put something else in stderr's place."""
    try:
        return stream.fileno() == _STDERR
    except (io.UnsupportedOperation, AttributeError):
        return False

"""Standard streams of a command, and text that fits one line of a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from mggr_edge.errors import StreamError

_STANDARD = (0, 1, 2)


@contextmanager
def checked_stdout() -> Iterator[None]:
    """Raises a `StreamError` where standard output cannot be written, instead of an `OSError`.

    Nothing is changed where a test or a notebook has replaced standard output.
    """
    before = cast("TextIO | None", sys.stdout)
    is_replaced = before is not sys.__stdout__
    if before is None or is_replaced:
        yield
        return
    sys.stdout = cast("TextIO", _Checked(before))
    try:
        yield
    finally:
        sys.stdout = before
        for stream in (before, sys.stderr):
            _discard_what_is_refused(stream)


def open_closed_streams() -> None:
    """Opens /dev/null in the place of standard streams that are closed.

    The next file that is opened would get the number of such a stream otherwise, and messages of
    native libraries would be written into it.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


class _Checked:
    """A text stream whose `write` and `flush` raise `StreamError`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._as_stream_error():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._as_stream_error():
            self._stream.flush()

    @contextmanager
    def _as_stream_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StreamError(
                f"standard output cannot be written: {reason}; its last lines are lost"
            ) from error


def _discard_what_is_refused(stream: TextIO | None) -> None:
    """Lets Python's own flush at exit succeed, which would print a second error."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()


_LONGEST_WORD = 500


def one_line(text: str) -> str:
    """A text in one line; signs that steer a terminal are written out, endless words cut.

    Example:
        >>> one_line("a\\x1b[31mred\\n  name")
        'a\\\\x1b[31mred name'
    """
    return " ".join(_readable(word) for word in text.split())


def _readable(word: str) -> str:
    if len(word) > _LONGEST_WORD:
        word = f"{word[: _LONGEST_WORD // 2]}...{word[-_LONGEST_WORD // 2 :]}"
    # repr writes out what cannot be printed, lone surrogates of undecodable names among it.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in word)

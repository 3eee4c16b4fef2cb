"""This process: its entry, standard streams, signals, exit code and memory."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast
from weakref import WeakSet

import click

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


_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_ONE_S = 1.0
"""What comes within this time is one wish to end: Ctrl-C goes to a whole group of processes, and a
program that started this one may hand on its own."""


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Sets `stop` when a signal comes; a later one is for somebody who does not want to wait.

    Signals reach the main thread alone: in another one this does nothing. Handlers that a program
    around Python has installed, in C, stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked_s: float | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_s
        if asked_s is None:
            asked_s = time.monotonic()
            stop.set()
        elif time.monotonic() - asked_s > _ONE_S:
            raise KeyboardInterrupt

    heard = [*_SIGNALS]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup` ignores it
        heard.append(signal.SIGHUP)
    # None: of a program around Python, which could not be put back.
    heard = [number for number in heard if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_program(command: click.Command, name: str) -> None:
    """Runs a command with the arguments of this process, and ends the process.

    Only entry points call this function: it replaces closed standard streams, handles SIGTERM and
    SIGHUP, and may end the process at once. A host that runs a command in its own process calls
    `command.main`, which does none of it.

    Args:
        command: the command or group.
        name: of the program, for its help.
    """
    open_closed_streams()
    try:
        with ended_by_signals(), checked_stdout():
            command.main(prog_name=name)
    except SystemExit as end:
        exit_if_readers_hang(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise


_STATUS = Path("/proc/self/status")


def resident_mb() -> float | None:
    """Resident memory in megabytes; None where the system does not tell (Linux' `/proc` does)."""
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    held = (int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))
    return next(held, None)

"""Handle the entry point, standard streams, signals, exit code and memory of this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
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
    """If standard output cannot be written, raise a `StreamError` instead of an `OSError`.

    If standard output is closed, or if a test or a notebook has replaced it, it is not changed.
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
    """Open /dev/null in place of each standard stream that is closed.

    Otherwise the next file that the process opens would get the file descriptor of that stream.
    Native libraries would then write their messages into that file.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # returns the lowest free file descriptor
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
                f"standard output cannot be written: {reason}; the last lines of output are lost",
                code="stdout-not-writable",
                reason=reason,
            ) from error


def _discard_what_is_refused(stream: TextIO | None) -> None:
    """If a stream cannot be flushed, redirect it to /dev/null.

    Otherwise Python's own flush at exit would also fail and print a second error.
    """
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
    """Return a text as one line that is safe to print on a terminal.

    Control characters are replaced by their escape sequences. Words of more than 500 characters are
    shortened in the middle.

    Example:
        >>> one_line("a\\x1b[31mred\\n  name")
        'a\\\\x1b[31mred name'
    """
    return " ".join(_readable(word) for word in text.split())


def _readable(word: str) -> str:
    if len(word) > _LONGEST_WORD:
        word = f"{word[: _LONGEST_WORD // 2]}...{word[-_LONGEST_WORD // 2 :]}"
    # repr returns the escape sequence of a character that is not printable. File names that are not
    # valid UTF-8 contain such characters, called lone surrogates.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in word)


_abandoned: WeakSet[threading.Thread] = WeakSet()


def abandon(reader: threading.Thread) -> None:
    """Register a reader thread that did not stop on request.

    Args:
        reader: a daemon thread that is blocked in a driver.
    """
    _abandoned.add(reader)


def exit_if_readers_hang(code: int) -> None:
    """If an abandoned reader thread is still running, exit the process immediately.

    If the driver call of an abandoned thread returns while Python shuts down, Python can crash. All
    recordings are complete when this function is called. The function skips all other clean-up, so
    only the entry point of a program may call this function.

    Args:
        code: the exit code of the process.
    """
    if any(reader.is_alive() for reader in _abandoned):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # `None` in a program that was started without this stream
                stream.flush()
        os._exit(code)


HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The signal SIGHUP, or `None` on Windows, which has no such signal."""

SIGNALS = (signal.SIGTERM,) if HANGUP is None else (signal.SIGTERM, HANGUP)
"""Signals that `ended_by_signals` handles.

The process receives SIGHUP when its terminal or SSH connection is closed.
"""

_CLEANING_S = 5.0
"""Time in seconds for the clean-up after the first signal.

The removal of temporary files takes less time.
"""


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ends: 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `SystemExit` with the code of `exit_code` when the process receives SIGTERM or SIGHUP.

    During the next `_CLEANING_S` seconds, further signals are ignored, so that they do not
    interrupt the removal of temporary files. A signal after this time raises `SystemExit` again,
    because a library may have caught the first `SystemExit`. If a signal already has another
    handler, or is ignored (as with `nohup`), this context does not change it. Code in the context
    may set its own handlers.

    Only the main thread can handle signals. In any other thread this context does nothing.
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
"""Repeated signals within this time in seconds count as one request to stop.

The terminal sends Ctrl-C to the whole process group. If the parent process also forwards its own
signal, this process receives two signals.
"""


@contextmanager
def stopped_by_signals(
    stop: threading.Event, *, reload: threading.Event | None = None
) -> Iterator[None]:
    """Set `stop` when the process receives SIGINT, SIGTERM or SIGHUP for the first time.

    If another signal arrives more than `_ONE_S` seconds later, it raises `KeyboardInterrupt`. So a
    user can stop the program without waiting for its regular end. If SIGHUP is ignored (as with
    `nohup`), it stays ignored. Python may be embedded in a C program. The signal handlers of that
    program are not changed.

    Only the main thread can handle signals. In any other thread this context does nothing.

    Args:
        stop: the event to set.
        reload: the event that SIGHUP sets instead of `stop`. `None` means that SIGHUP sets `stop`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked_s: float | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked_s
        if reload is not None and number == HANGUP:
            reload.set()
        elif asked_s is None:
            asked_s = time.monotonic()
            stop.set()
        elif time.monotonic() - asked_s > _ONE_S:
            raise KeyboardInterrupt

    heard = [*_SIGNALS]
    # SIGHUP is ignored under `nohup`.
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        heard.append(HANGUP)
    # `None` stands for a handler that was not installed from Python. Python cannot restore such a
    # handler.
    heard = [number for number in heard if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_program(command: click.Command, name: str) -> None:
    """Run a command with the arguments of this process, and exit the process.

    Only entry points may call this function. It opens closed standard streams, handles SIGTERM and
    SIGHUP, and may exit the process immediately. A program that runs a command within its own
    process must call `command.main` instead. `command.main` does none of this.

    Args:
        command: the command or group to run.
        name: the name of the program, for its help text.
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
    """Return the resident memory of this process in MB.

    Systems without `/proc` need the package psutil. Without psutil, the result is `None`.
    """
    if not _STATUS.exists():
        try:
            import psutil
        except ModuleNotFoundError:
            return None
        return float(psutil.Process().memory_info().rss) / 1e6
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    held = (int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:"))
    return next(held, None)


_warnings_lock = threading.Lock()
_threads_without_warnings = 0
_hidden_warnings = warnings.catch_warnings()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hide Python warnings, in all threads of this process.

    The filters of Python are global. Therefore the first thread saves and changes them, and the
    last thread restores them. If every thread saved them, a thread could save changed filters.
    """
    global _threads_without_warnings, _hidden_warnings
    with _warnings_lock:
        if _threads_without_warnings == 0:
            _hidden_warnings = warnings.catch_warnings()
            _hidden_warnings.__enter__()
            warnings.simplefilter("ignore")
        _threads_without_warnings += 1
    try:
        yield
    finally:
        with _warnings_lock:
            _threads_without_warnings -= 1
            if _threads_without_warnings == 0:
                _hidden_warnings.__exit__(None, None, None)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Suppress the messages that OpenCV writes to standard error, in all threads."""
    import cv2

    # OpenCV 5 moved the functions to another module.
    module: Any = cv2
    if not hasattr(module, "setLogLevel"):
        module = module.utils.logging
    before = module.setLogLevel(_SILENT)
    try:
        yield
    finally:
        module.setLogLevel(before)


_SILENT = 0

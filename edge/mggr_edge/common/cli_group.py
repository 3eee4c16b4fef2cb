"""Define click groups and option types that report user errors in one line, with exit code 2."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import IO, Any, Literal

import click

from mggr_edge.common.process import one_line
from mggr_edge.errors import MggrError, MissingPackageError

USER_ERROR = 2
"""Exit code of every error that the user can correct.

click also uses this code for its own usage errors.
"""

_PACKAGES = {"cv2": ("OpenCV", "edge")}
"""Optional packages that some modules import at the top: module -> (package name, extra).

If mggr-tf is installed without extras, these packages are missing.
"""


class MggrGroup(click.Group):
    """A click group whose commands may raise `MggrError`.

    The group writes the message of a `MggrError` to stderr as one line, `error: ...`. Then the
    process exits with code 2. Every other exception is a bug in this project and keeps its
    traceback.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _as_one_line():  # --help and --version write their output in this call
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MggrError as error:
            raise OneLineError(error) from error
        except ModuleNotFoundError as error:
            if error.name not in _PACKAGES:
                raise
            raise OneLineError(MissingPackageError(*_PACKAGES[error.name])) from error


@contextmanager
def _as_one_line() -> Iterator[None]:
    try:
        yield
    except MggrError as error:
        raise OneLineError(error) from error


class OneLineError(click.ClickException):
    """An error that click shows as `error: <message>`; the process exits with code 2.

    Args:
        error: the error that the user can correct.

    Attributes:
        error: the error that the user can correct.
    """

    exit_code = USER_ERROR

    def __init__(self, error: MggrError) -> None:
        super().__init__(str(error))
        self.error = error

    def show(self, file: IO[Any] | None = None) -> None:
        echo_error(self.message)


LogFormat = Literal["text", "json"]


class _Log:
    """Format of the messages of this process. Commands set it; library code does not."""

    format: LogFormat = "text"


def set_log_format(log_format: LogFormat) -> None:
    """Set the format of `echo_error` and `echo_note`. A command calls this at its start."""
    _Log.format = log_format


def echo_error(message: str, *, camera: str | None = None) -> None:
    """Write the message to stderr as one line, `error: ...`, without its line breaks.

    Args:
        message: the message.
        camera: name of the camera that the message is about, in a service with several cameras.
    """
    if _Log.format == "json":
        _echo_json("error", one_line(message), camera)
        return
    with suppress(OSError):  # if stderr cannot be written, only the exit code reports the error
        click.echo(f"{_of(camera)}error: {one_line(message)}", err=True)


def echo_note(text: str, *, camera: str | None = None) -> None:
    """Write a line about the progress of a command to stderr.

    If the disk is full, or if the process that reads the log has exited, stderr cannot be written.
    In this case, the line is lost and the command continues.

    Args:
        text: the message.
        camera: see `echo_error`.
    """
    if _Log.format == "json":
        _echo_json("info", text, camera)
        return
    with suppress(OSError):
        click.echo(f"{_of(camera)}{text}", err=True)


def _of(camera: str | None) -> str:
    return "" if camera is None else f"{camera}: "


def _echo_json(level: str, message: str, camera: str | None) -> None:
    """Write one JSON object as a line. The time is in UTC, in the format of ISO 8601."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    about = {} if camera is None else {"camera": camera}
    entry = {"time": time, "level": level, **about, "message": message}
    line = json.dumps(entry, ensure_ascii=False)
    with suppress(OSError):
        click.echo(line, err=True)


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` that rejects `nan` and `inf`.

    Every comparison with NaN is false. Therefore `click.FloatRange` accepts NaN with any limits.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail if the number is not finite or is out of range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number

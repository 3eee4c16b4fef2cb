"""Command groups and option types: a user's mistake becomes one line and exit code 2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from mggr_edge.common.process import one_line
from mggr_edge.errors import MggrError, MissingPackageError

USER_ERROR = 2
"""Exit code of every mistake that the user can correct, as click's own usage errors have."""

_PACKAGES = {"cv2": ("OpenCV", "edge")}
"""Module -> (name, extra) of what the core imports at its top, and a bare install lacks."""


class MggrGroup(click.Group):
    """A click group whose commands may raise `MggrError`.

    The message goes to stderr as one line, `error: ...`, and the process ends
    with 2. Everything else keeps its traceback: it is a fault of ours.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _as_one_line():  # --help and --version print here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MggrError as error:
            raise OneLineError(str(error)) from error
        except ModuleNotFoundError as error:
            if error.name not in _PACKAGES:
                raise
            raise OneLineError(str(MissingPackageError(*_PACKAGES[error.name]))) from error


@contextmanager
def _as_one_line() -> Iterator[None]:
    try:
        yield
    except MggrError as error:
        raise OneLineError(str(error)) from error


class OneLineError(click.ClickException):
    """Shown as `error: <message>`; ends the process with 2."""

    exit_code = USER_ERROR

    def show(self, file: IO[Any] | None = None) -> None:
        echo_error(self.message)


def echo_error(message: str) -> None:
    """Writes one line `error: ...` to stderr, whatever breaks the message holds."""
    with suppress(OSError):  # standard error takes no more: the exit code is all that is left
        click.echo(f"error: {one_line(message)}", err=True)


def echo_note(text: str) -> None:
    """Writes a line about the progress of a command to stderr.

    Where standard error takes no more (a full disk, a log reader that is gone), the line is lost
    and the command goes on.
    """
    with suppress(OSError):
        click.echo(text, err=True)


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` that refuses `nan` and `inf`.

    No comparison with NaN is true, so a `FloatRange` takes it as within any limits.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number; fails if it is not finite or out of range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number

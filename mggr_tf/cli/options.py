"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from mggr_edge.errors import DataError, UsageError
from mggr_tf.data.names import parse_subjects


class SubjectList(click.ParamType):
    """`0001-0032` or `0003,0007`."""

    name = "subjects"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parses; a mistake is a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_subjects(value)
        except DataError as error:
            self.fail(str(error), param, ctx)


subjects_option = click.option(
    "--subjects", type=SubjectList(), help="Only these, e.g. 0001-0032 or 0003,0007."
)

force_option = click.option("--force", is_flag=True, help="Replace a named output that exists.")


def say(text: str) -> None:
    """Tells the user what was chosen or done; on stderr, so that stdout stays data."""
    click.echo(text, err=True)


def check_is_free(path: Path, *, force: bool) -> None:
    """Refuses a named output that exists.

    Raises:
        OutputExistsError: it exists and `--force` was not given.
    """
    from mggr_edge.errors import OutputExistsError

    if path.exists() and not force:
        raise OutputExistsError(path)


def one_budget(steps: int | None, minutes: float | None) -> None:
    """Steps or minutes, not both.

    Raises:
        UsageError: both were given, or minutes that are no number.
    """
    if minutes is not None and not math.isfinite(minutes):
        raise UsageError(f"--minutes must be a number of minutes, got {minutes}")
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes exclude each other; give one budget")

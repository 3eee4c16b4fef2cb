"""Show a progress bar with the remaining time, for operations of more than two seconds."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import click


class Advance(Protocol):
    """Function that adds a number of newly completed steps to the progress."""

    def __call__(self, steps: int = 1) -> None: ...


Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Type of `progress` and `no_progress`: (label, total) -> a context that yields `advance`."""

PATIENCE_S = 2.0
"""Time in seconds before the bar appears. Shorter operations show no bar."""


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """If stderr is a terminal, show a progress bar on stderr; otherwise show nothing.

    Args:
        label: the name of the operation, e.g. "redirecting clip.mp4".
        total: the number of steps, or `None` if the number is unknown.

    Yields:
        `advance(n)`, the function to call after n more steps are complete.

    Example:
        >>> with progress("counting", 3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    if not sys.stderr.isatty():
        yield _ignore
        return
    with ExitStack() as stack:
        yield _Bar(label, total, stack).advance


@contextmanager
def no_progress(label: str, total: int | None) -> Iterator[Advance]:
    """Accept the arguments of `progress` and show nothing."""
    yield _ignore


def from_counts(advance: Advance) -> Callable[[int, int], None]:
    """Convert `advance` to a callback that accepts (completed steps, total steps).

    Some functions report how many steps are complete so far, not how many steps are new.
    """
    reported = 0

    def tell(done: int, total: int) -> None:
        nonlocal reported
        advance(done - reported)
        reported = done

    return tell


def _ignore(steps: int = 1) -> None:
    pass


class _Bar:
    def __init__(self, label: str, total: int | None, stack: ExitStack) -> None:
        self._label, self._total, self._stack = label, total, stack
        self._started = time.time()
        self._done = 0
        self._bar: Any = None

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif time.time() - self._started > PATIENCE_S:
            self._bar = self._stack.enter_context(
                click.progressbar(
                    # click needs either a length or an iterable.
                    itertools.count() if self._total is None else None,
                    length=self._total,
                    label=self._label,
                    file=sys.stderr,
                    show_pos=True,
                )
            )
            # The estimate of the remaining time must include the steps and the time before the bar
            # appeared.
            self._bar.start = self._started
            self._bar.update(self._done)

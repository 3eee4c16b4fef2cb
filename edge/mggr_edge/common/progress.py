"""Progress with an estimate of the time left, for whatever takes more than two seconds."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import click


class Advance(Protocol):
    """Says that so many more steps are done."""

    def __call__(self, steps: int = 1) -> None: ...


Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""What `progress` and `no_progress` are: (label, total) -> a context that gives `advance`."""

PATIENCE_S = 2.0
"""Shorter work shows no bar at all."""


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """Shows a bar on stderr while work goes on; silent when stderr is no terminal.

    Args:
        label: what is being done, e.g. "redirecting clip.mp4".
        total: how many steps there are; None when nobody knows.

    Returns:
        A context that gives `advance(n)`: n more steps are done.

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
    """The same shape as `progress`, and always silent."""
    yield _ignore


def from_counts(advance: Advance) -> Callable[[int, int], None]:
    """Turns `advance` into what some workers call instead: (done so far, total)."""
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
                    # Without a length click wants something to count.
                    itertools.count() if self._total is None else None,
                    length=self._total,
                    label=self._label,
                    file=sys.stderr,
                    show_pos=True,
                )
            )
            # The estimate counts the steps that were done before the bar was there.
            self._bar.start = self._started
            self._bar.update(self._done)

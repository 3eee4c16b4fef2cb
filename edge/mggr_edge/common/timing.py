"""Time that each stage of a frame takes, and the gap after which frames are unrelated."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import numpy as np

_REMEMBERED = 2000
"""Not more: a service runs for months."""


class Stages(Protocol):
    """Called with a stage's name; what runs inside the context is that stage."""

    def __call__(self, name: str, /) -> AbstractContextManager[None]: ...


def no_stages(name: str, /) -> AbstractContextManager[None]:
    """Measures nothing."""
    return nullcontext()


class StageClock:
    """Times stages; they may follow one another, and not lie inside each other.

    Args:
        remembered: calls of a stage that its median is taken over.
    """

    def __init__(self, *, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._took_s: dict[str, deque[float]] = {}
        self._totals_s: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, /) -> Iterator[None]:
        """Times one stage once."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - started
            self._took_s.setdefault(name, deque(maxlen=self._remembered)).append(took_s)
            self._totals_s[name] = self._totals_s.get(name, 0.0) + took_s

    def totals_s(self) -> dict[str, float]:
        """Seconds in every stage so far, in the order in which they first ran."""
        return self._totals_s.copy()

    def medians_ms(self) -> dict[str, float]:
        """Median milliseconds of a call of every stage, in the order in which they first ran."""
        return {name: 1000 * float(np.median(took_s)) for name, took_s in self._took_s.items()}

    def table(self) -> str:
        """Median and 95th percentile of a call, and the share of each stage, as text."""
        form = "{:<20} {:>8} {:>8} {:>6}"
        whole = sum(self._totals_s.values())
        lines = [form.format("stage", "median", "p95", "share")]
        for name, took_s in self._took_s.items():
            median, high = 1000 * np.percentile(took_s, [50, 95])
            share = self._totals_s[name] / max(whole, 1e-12)
            lines.append(form.format(name, f"{median:.1f} ms", f"{high:.1f} ms", f"{share:.0%}"))
        return "\n".join(lines)


MAX_GAP_S = 0.5

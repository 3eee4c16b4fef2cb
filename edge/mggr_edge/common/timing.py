"""Measure the time of each pipeline stage, and convert frame times to increasing times."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import numpy as np

_REMEMBERED = 2000
"""Default number of calls per stage whose times are kept.

The number is limited, because a service may run for months.
"""


class Stages(Protocol):
    """Function that accepts the name of a stage and returns a context that times this stage."""

    def __call__(self, name: str, /) -> AbstractContextManager[None]: ...


def no_stages(name: str, /) -> AbstractContextManager[None]:
    """Return a context that measures nothing."""
    return nullcontext()


class StageClock:
    """Clock that measures the time of stages that run one after the other.

    Stages must not be nested.

    Args:
        remembered: number of calls per stage whose times are kept. The median and the 95th
            percentile are computed from the latest calls.
    """

    def __init__(self, *, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._took_s: dict[str, deque[float]] = {}
        self._totals_s: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, /) -> Iterator[None]:
        """Measure the time of one call of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - started
            self._took_s.setdefault(name, deque(maxlen=self._remembered)).append(took_s)
            self._totals_s[name] = self._totals_s.get(name, 0.0) + took_s

    def totals_s(self) -> dict[str, float]:
        """Return the total seconds per stage, sorted by the first call of each stage."""
        return self._totals_s.copy()

    def medians_ms(self) -> dict[str, float]:
        """Return the median time per call of each stage, in milliseconds.

        The stages are sorted by their first call.
        """
        return {name: 1000 * float(np.median(took_s)) for name, took_s in self._took_s.items()}

    def table(self) -> str:
        """Return a text table with one line per stage.

        A line contains the median and the 95th percentile of the time per call, and the share of
        the total time.
        """
        form = "{:<20} {:>8} {:>8} {:>6}"
        whole = sum(self._totals_s.values())
        lines = [form.format("stage", "median", "p95", "share")]
        for name, took_s in self._took_s.items():
            median, high = 1000 * np.percentile(took_s, [50, 95])
            share = self._totals_s[name] / max(whole, 1e-12)
            lines.append(form.format(name, f"{median:.1f} ms", f"{high:.1f} ms", f"{share:.0%}"))
        return "\n".join(lines)


MAX_GAP_S = 0.5
"""Maximum time in seconds between two related frames.

After a longer gap, a frame is treated as unrelated to the frames before it.
"""

_UNKNOWN_STEP_S = 1 / 30
"""Assumed time between two frames in seconds, until the first real step is measured."""


class FrameClock:
    """Convert the frame times of one video to strictly increasing times.

    A time that is later than all previous output times is returned unchanged. A time may also
    repeat or go back a little, for example if two frames share each timestamp. Such a time is
    replaced by the previous output time plus half of the last step. Therefore filters do not divide
    by zero. They also continue to work when the timestamps stop.
    """

    def __init__(self) -> None:
        self._given_s: float | None = None
        self._time_s = 0.0
        self._step_s = _UNKNOWN_STEP_S

    def goes_back_far(self, time_s: float) -> bool:
        """Return whether a time is more than `MAX_GAP_S` earlier than the previous time.

        After such a time, the frame counts as the first frame of another video.
        """
        return self._given_s is not None and time_s < self._given_s - MAX_GAP_S

    def __call__(self, time_s: float) -> float:
        """Convert the time of the next frame to an increasing time; both are in seconds."""
        if self._given_s is None:
            self._time_s = time_s
        else:
            if time_s > self._given_s:
                self._step_s = time_s - self._given_s
            # The step is limited to the gap after which tracks of faces are dropped.
            least_s = min(self._step_s, MAX_GAP_S) / 2
            self._time_s = time_s if time_s > self._time_s else self._time_s + least_s
        self._given_s = time_s
        return self._time_s

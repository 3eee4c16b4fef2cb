"""How fast a training is, and how long it still takes."""

from __future__ import annotations

import statistics
from collections import deque

_WINDOW_S = 30.0
_FEWEST_STEPS = 5
"""Looked back at, however long they took."""


class Pace:
    """Times steps. No clock of its own: the time is passed in, in seconds of any clock.

    Steps count without the pauses between them (validation, sheets). The first step counts
    nowhere: it traces the graph.

    Args:
        now: when the first step begins.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self._stepped_s = self._paused_s = self._paused_now_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # (when it ended, seconds)
        self._traced = False

    def step(self, now: float) -> None:
        """A step has ended."""
        seconds = max(0.0, now - self._last - self._paused_now_s)
        self._last, self._paused_now_s = now, 0.0
        if not self._traced:
            self._traced = True
            return
        self._stepped_s += seconds
        self._recent.append((now, seconds))
        while len(self._recent) > _FEWEST_STEPS and self._recent[0][0] < now - _WINDOW_S:
            self._recent.popleft()

    def pause(self, seconds: float) -> None:
        """So much of the time since the last step was none of the next one's."""
        self._paused_now_s += seconds
        self._paused_s += seconds

    def steps_a_second(self) -> float | None:
        """Over the last half minute; None before there are steps to tell by."""
        spent = sum(seconds for _, seconds in self._recent)
        return len(self._recent) / spent if spent > 0 else None

    def seconds_left(self, steps: int) -> float | None:
        """What so many steps will take, with pauses as they were; None like `steps_a_second`.

        The median of the recent steps: one in which the machine was busy elsewhere is not
        the rule.
        """
        if self._stepped_s <= 0:
            return None
        each = statistics.median(seconds for _, seconds in self._recent)
        return steps * each * (1 + self._paused_s / self._stepped_s)

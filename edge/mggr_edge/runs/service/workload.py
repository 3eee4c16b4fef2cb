"""Load shedding: skips frames as the pressure demands, and measures the work of the others.

At `Level.HALF` at most every second frame is taken. On a machine that needs longer than a frame
lasts that saves nothing, because the reader has already dropped the frames in between. So while
the machine must cool, no frame is taken for w seconds after work of w seconds: at most half of the
time is spent on frames. A slow machine that is cool keeps its frame rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mggr_edge.runs.service.pressure import WINDOW_S, Level, Load, Pressure


class Workload:
    """Measures the work of a live source and reduces it.

    Attributes:
        left_out: frames skipped on purpose so far.

    Args:
        pressure: decides the level.
        set_fine: turns the fine branch on and off; called in the frame loop, so it must not load
            a model.
    """

    def __init__(self, pressure: Pressure, set_fine: Callable[[bool], None]) -> None:
        self.left_out = 0
        self._pressure, self._set_fine = pressure, set_fine
        self._last_taken: int | None = None
        self._rests_until_s = -float("inf")
        self._begin(0)

    def takes(self, number: int) -> bool:
        """Returns whether a frame is to be processed.

        Args:
            number: of the frame among all that arrived, dropped ones included.
        """
        self._arrived = number
        self._look()
        if self._pressure.level is Level.HALF and self._is_too_soon(number):
            self.left_out += 1
            return False
        self._last_taken = number
        return True

    def _is_too_soon(self, number: int) -> bool:
        is_next = self._last_taken is not None and number - self._last_taken < 2
        rests = self._pressure.must_cool and time.monotonic() < self._rests_until_s
        return is_next or rests

    @contextmanager
    def work(self) -> Iterator[None]:
        """Measures the code inside as the work of one frame."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        self._rests_until_s = ended + (ended - started)
        self._busy_s += ended - started
        self._taken += 1

    def _look(self) -> None:
        lasted_s = time.monotonic() - self._begun_s
        if lasted_s < WINDOW_S:
            return
        arrived = self._arrived - self._arrived_before
        self._pressure.look(Load(arrived, self._taken, self._busy_s, lasted_s))
        self._set_fine(self._pressure.level is Level.ALL)
        self._begin(self._arrived)

    def _begin(self, arrived: int) -> None:
        self._begun_s = time.monotonic()
        self._arrived_before = self._arrived = arrived
        self._taken, self._busy_s = 0, 0.0

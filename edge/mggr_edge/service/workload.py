"""Takes frames in or leaves them out, as the pressure says, and measures what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mggr_edge.service.pressure import WINDOW_S, Level, Load, Pressure


class Workload:
    """What a live picture costs.

    Attributes:
        left_out: frames so far that were not taken on purpose.

    Args:
        pressure: decides.
        set_fine: turns the fine branch on and off.
    """

    def __init__(self, pressure: Pressure, set_fine: Callable[[bool], None]) -> None:
        self.left_out = 0
        self._pressure, self._set_fine = pressure, set_fine
        self._last_taken: int | None = None
        self._begin(0)

    def takes(self, number: int) -> bool:
        """Whether a frame shall be worked on.

        Args:
            number: of the frame among all that came, dropped ones too.
        """
        self._arrived = number
        self._look()
        halved = self._pressure.level is Level.HALF
        if halved and self._last_taken is not None and number - self._last_taken < 2:
            self.left_out += 1
            return False
        self._last_taken = number
        return True

    @contextmanager
    def work(self) -> Iterator[None]:
        """What runs inside is a frame's work."""
        started = time.monotonic()
        yield
        self._busy_s += time.monotonic() - started
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

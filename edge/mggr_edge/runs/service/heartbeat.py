"""Whether the thread that reads a camera still does anything."""

from __future__ import annotations

import time

STUCK_S = 30.0
"""Longer than any source may take to open or to give a frame: what is silent for so long hangs."""


class Heartbeat:
    """Beaten by who reads, looked at by who waits."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Says that something is being tried, whether it works or not."""
        self._last_s = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether it is too long ago."""
        return time.monotonic() - self._last_s > STUCK_S

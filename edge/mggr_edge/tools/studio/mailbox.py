"""The newest frame that is there to be shown, and who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_WATCHED_S = 3.0
"""Somebody who asked so long ago looks no more."""

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """Keeps one item; another takes its place, whether anybody saw it or not.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._number = 0
        self._asked_s: float | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        """Takes the next one."""
        with self._changed:
            self._item, self._number = item, self._number + 1
            self._changed.notify_all()

    def after(self, number: int, *, patience_s: float) -> tuple[int, Item] | None:
        """The newest item, if it is another than that; else waits for the next.

        Args:
            number: of the item that was seen last; 0 for none.
            patience_s: how long is waited.

        Returns:
            its number and the item; None if none came.
        """
        with self._changed:
            self._asked_s = self._clock()
            self._changed.wait_for(
                lambda: self._is_closed or self._number not in (0, number), patience_s
            )
            self._asked_s = self._clock()
            if self._item is None or self._number == number:
                return None
            return self._number, self._item

    @property
    def is_watched(self) -> bool:
        """Whether anybody asked lately."""
        asked_s = self._asked_s
        return asked_s is not None and self._clock() - asked_s < _WATCHED_S

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

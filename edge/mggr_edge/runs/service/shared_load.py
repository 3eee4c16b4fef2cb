"""Load shedding for several cameras of one process: one level of work for all of them.

The loads of the cameras are added up, because their frames are processed one after the other (see
`fair_turns`). If the sum is too high, all cameras step down together. So no camera loses quality in
favour of another camera.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mggr_edge.runs.service.load_shedding import HOT_C, WINDOW_S, Level, Load, LoadController


@dataclass(frozen=True)
class TotalLoad:
    """Load by several sources that share the processing time.

    Attributes:
        parts: load by each source.
    """

    parts: tuple[Load, ...]

    @property
    def taken(self) -> int:
        """Number of processed frames of all sources."""
        return sum(part.taken for part in self.parts)

    @property
    def share(self) -> float:
        """Sum of the loads of all sources. 1 is full load."""
        return sum(part.share for part in self.parts)


class SharedLoad:
    """Load of several cameras of one process. One controller chooses the level of all cameras.

    Args:
        temperature: see `LoadController`.
        notify: see `LoadController`.
        hot_c: see `LoadController`.
    """

    def __init__(
        self,
        *,
        temperature: Callable[[], float | None],
        notify: Callable[[str], None],
        hot_c: float = HOT_C,
    ) -> None:
        self._lock = threading.Lock()
        self._shares: list[LoadShare] = []
        self._looked_s = time.monotonic()
        self.controller = LoadController(
            has_coarse=lambda: all(share.has_coarse() for share in self._shares),
            temperature=temperature,
            notify=notify,
            hot_c=hot_c,
        )

    @contextmanager
    def join(self, has_coarse: Callable[[], bool]) -> Iterator[LoadShare]:
        """Add a camera, until the context ends.

        Args:
            has_coarse: function that returns whether the bundle of this camera can skip the fine
                branch. The first step is made only if this is true for all cameras.
        """
        share = LoadShare(self, has_coarse)
        with self._lock:
            self._shares.append(share)
        try:
            yield share
        finally:
            with self._lock:
                self._shares.remove(share)

    def look(self) -> None:
        """If a window has passed, add up the latest loads and pass them to the controller.

        The loads of cameras without new frames are ignored.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._looked_s < WINDOW_S:
                return
            self._looked_s = now
            recent = [s.load for s in self._shares if now - s.seen_s < 2 * WINDOW_S]
            self.controller.look(TotalLoad(tuple(load for load in recent if load is not None)))


class LoadShare:
    """Load of one camera among several.

    Attributes:
        has_coarse: see `SharedLoad.join`.
        load: load in the last window. `None` before the first window.
        seen_s: time of this load, in seconds of `time.monotonic`.
    """

    def __init__(self, shared: SharedLoad, has_coarse: Callable[[], bool]) -> None:
        self._shared, self.has_coarse = shared, has_coarse
        self.load: Load | None = None
        self.seen_s = -float("inf")

    @property
    def level(self) -> Level:
        """Current level of work, which is the same for all cameras."""
        return self._shared.controller.level

    @property
    def must_cool(self) -> bool:
        """True if the machine was hot and has not yet cooled down."""
        return self._shared.controller.must_cool

    def look(self, load: Load) -> None:
        """Record the load of this camera, and pass the load of all cameras to the controller."""
        self.load, self.seen_s = load, time.monotonic()
        self._shared.look()

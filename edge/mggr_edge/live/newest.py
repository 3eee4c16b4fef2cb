"""Reads a source as fast as it gives, and hands on its newest frame only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.live.capture import Capture

_LOOK_S = 0.1
"""How often a waiting reader looks whether it shall stop."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame and when it came.

    Attributes:
        rgb: [H, W, 3] uint8.
        time_s: since the first frame; always going up.
    """

    rgb: NDArray[np.uint8]
    time_s: float


class Newest:
    """One frame is kept; one that comes before it was asked for takes its place.

    Reading goes on in a thread of its own, so that no frame waits in a queue and a slow
    consumer sees the present and not the past.

    Attributes:
        dropped: frames so far that nobody asked for in time.

    Args:
        capture: what is read.
        stop: set from anywhere to end.
    """

    def __init__(self, capture: Capture, *, stop: threading.Event) -> None:
        self.dropped = 0
        self._capture, self._stop = capture, stop
        self._changed = threading.Condition()
        self._waiting: LiveFrame | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="capture")
        self._reading: Future[None] | None = None

    def __enter__(self) -> Newest:
        self._reading = self._thread.submit(self._read)
        self._reading.add_done_callback(lambda reading: self._tell())
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.shutdown(wait=True)

    def __iter__(self) -> Iterator[LiveFrame]:
        """Frames until the source ends or `stop` is set.

        Raises:
            StreamError: the source is lost; what came before it was handed on.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> LiveFrame | None:
        assert self._reading is not None, "use it as a context"
        with self._changed:
            while self._waiting is None and not self._reading.done() and not self._stop.is_set():
                self._changed.wait(_LOOK_S)
            frame, self._waiting = self._waiting, None
        if self._stop.is_set():
            return None
        if frame is None:
            self._reading.result()  # raises what ended it
        return frame

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify()

    def _read(self) -> None:
        started: float | None = None
        last_s = -1.0
        while not self._stop.is_set() and (rgb := self._capture.read()) is not None:
            now = time.monotonic()
            started = now if started is None else started
            last_s = max(now - started, float(np.nextafter(last_s, np.inf)))
            with self._changed:
                self.dropped += self._waiting is not None
                self._waiting = LiveFrame(rgb, last_s)
                self._changed.notify()

"""Reads a source as fast as it gives, and hands on its newest frame only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import abandon
from mggr_edge.media.live.sources import Capture, stream_time_s
from mggr_edge.media.live.stream_clock import StreamClock

_LOOK_S = 0.1
"""How often a waiting consumer looks whether it shall stop."""

_GRACE_S = 0.5
"""How long is waited for a reader that was asked to stop; one that hangs in a driver is left."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame and its time.

    Attributes:
        rgb: [H, W, 3] uint8.
        time_s: since the first frame, by the source's clock where it has one that can be
            followed (see `StreamClock`); always going up.
        number: among all that came, dropped ones too, from 0.
    """

    rgb: NDArray[np.uint8]
    time_s: float
    number: int = 0


class Newest:
    """One frame is kept; one that comes before it was asked for takes its place.

    Reading goes on in a thread of its own, so that no frame waits in a queue and a slow
    consumer sees the present and not the past. That thread also closes the source: nobody may
    while it is read, and a source that hangs must not hold up the end.

    Attributes:
        dropped: frames so far that nobody asked for in time.

    Args:
        capture: what is read.
        stop: set from anywhere to end.
        beat: called by the reader before every frame that it asks for.
        meanwhile: called by the consumer, again and again while it waits.
    """

    def __init__(
        self,
        capture: Capture,
        *,
        stop: threading.Event,
        beat: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.dropped = 0
        self._capture, self._stop = capture, stop
        self._beat, self._meanwhile = beat, meanwhile
        self._changed = threading.Condition()
        self._waiting: LiveFrame | None = None
        self._error: BaseException | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def __enter__(self) -> Newest:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            abandon(self._thread)

    def __iter__(self) -> Iterator[LiveFrame]:
        """Frames until the source ends or `stop` is set.

        Raises:
            StreamError: the source is lost; what came before it was handed on.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> LiveFrame | None:
        while not self._has_news(within_s=_LOOK_S):
            # Without the lock: closing a file may take seconds, and the reader goes on meanwhile.
            self._meanwhile()
        with self._changed:
            frame, self._waiting = self._waiting, None
        if self._stop.is_set():
            return None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def _has_news(self, *, within_s: float) -> bool:
        """Waits for a frame or the end; False if neither comes in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._waiting is not None or self._has_ended or self._stop.is_set(),
                within_s,
            )

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - raised where frames are waited for
            self._error = error
        # Reported before the source is closed: that may hang in a driver, or fail.
        with self._changed:
            self._has_ended = True
            self._changed.notify()
        self._capture.close()

    def _read(self) -> None:
        clock = StreamClock()
        number = 0
        while not self._stop.is_set():
            self._beat()
            rgb = self._capture.read()
            if rgb is None:
                return
            time_s = clock.time_s(stream_time_s(self._capture), arrived_s=time.monotonic())
            with self._changed:
                self.dropped += self._waiting is not None
                self._waiting = LiveFrame(rgb, time_s, number)
                self._changed.notify()
            number += 1

"""A live source that is opened again whenever it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.sources import Capture, stream_time_s

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


class Reconnecting:
    """Opens a source, also for the first time, as soon as it is there.

    While it is away no frame is given. It is tried after half a second, and then after twice as
    long each time, up to a quarter of a minute. A loss is reported once, another reason for it
    again, and the return.

    Attributes:
        reconnected: how often it came back, having been there before.

    Args:
        open_: opens it, or raises `StreamError`.
        name: of the source, for people.
        stop: set from anywhere to end.
        say: takes what happens.
        beat: called whenever something is tried, and when that has failed.
    """

    def __init__(
        self,
        open_: Callable[[], Capture],
        *,
        name: str,
        stop: threading.Event,
        say: Callable[[str], None],
        beat: Callable[[], None],
    ) -> None:
        self.reconnected = 0
        self._open, self._name = open_, name
        self._stop, self._say, self._beat = stop, say, beat
        self._capture: Capture | None = None
        self._wait_s = 0.0
        self._was_there = False
        self._lost_s: float | None = None
        self._told: str | None = None

    def read(self) -> NDArray[np.uint8] | None:
        """Waits for the next frame, however long; None when it was stopped."""
        while not self._stop.wait(self._wait_s):
            self._beat()
            try:
                if self._capture is None:
                    self._capture = self._open()
                frame = self._capture.read()
            except StreamError as error:
                self._lose(str(error))
                continue
            if frame is None:
                self._lose(f"{self._name} has ended")
                continue
            self._note_that_it_is_there()
            return frame
        return None

    @property
    def stream_time_s(self) -> float | None:
        """The source's own time of the last frame; it starts anew with every connection."""
        return None if self._capture is None else stream_time_s(self._capture)

    def close(self) -> None:
        """Lets go of the source."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def _lose(self, reason: str) -> None:
        self.close()
        self._beat()
        self._lost_s = time.monotonic() if self._lost_s is None else self._lost_s
        if reason != self._told:
            self._say(f"{reason}; trying again until it is there")
            self._told = reason
        self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _LONGEST_WAIT_S)

    def _note_that_it_is_there(self) -> None:
        self._wait_s = 0.0
        if self._lost_s is not None:
            away_s = time.monotonic() - self._lost_s
            self._lost_s = self._told = None
            self.reconnected += self._was_there
            again = " again" if self._was_there else ""
            self._say(f"{self._name} is there{again}, after {away_s:.1f} s")
        self._was_there = True

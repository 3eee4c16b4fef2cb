"""Share the processing time of one process fairly between several cameras.

One frame is processed at a time, because a frame already uses all cores (in the interpreters). If
several cameras wait, the camera that has used the least time is next. So a camera with many faces
does not delay the frames of the others by more than one of its own frames. A camera that was idle
gets no credit for the time in which it was idle.

References:
    Demers, Keshav, Shenker, Analysis and Simulation of a Fair Queueing Algorithm, 1989.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.results import FrameProcess, FrameResult


class FairTurns:
    """Turns of the cameras of one process. Any thread may use this object."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Turn, None] = {}
        self._taken = False
        self._floor_s = 0.0

    def join(self) -> Turn:
        """Return the turn of one more camera."""
        return Turn(self)

    def take(self, turn: Turn) -> None:
        """Wait until it is the turn of this camera."""
        with self._changed:
            turn.spent_s = max(turn.spent_s, self._floor_s)
            self._waiting[turn] = None
            self._changed.wait_for(lambda: not self._taken and self._next() is turn)
            del self._waiting[turn]
            self._floor_s = turn.spent_s
            self._taken = True

    def give_back(self, turn: Turn, used_s: float) -> None:
        """End the turn of a camera, and record the time that it used in seconds."""
        with self._changed:
            turn.spent_s += used_s
            self._taken = False
            self._changed.notify_all()

    def _next(self) -> Turn:
        """Return the waiting camera with the least time. Of several, the first that waits."""
        return min(self._waiting, key=lambda turn: turn.spent_s)


class Turn:
    """Turn of one camera, as a context manager. Only one thread may use it.

    Attributes:
        spent_s: processing time that counts for this camera, in seconds.
        waited_s: total time of waiting for the turn, in seconds.
    """

    def __init__(self, turns: FairTurns) -> None:
        self._turns = turns
        self.spent_s = self.waited_s = 0.0
        self._began_s = 0.0

    def __enter__(self) -> None:
        asked_s = time.monotonic()
        self._turns.take(self)
        self._began_s = time.monotonic()
        self.waited_s += self._began_s - asked_s

    def __exit__(self, *error: object) -> None:
        self._turns.give_back(self, time.monotonic() - self._began_s)


class InTurn:
    """Frame processor that waits for its turn before each frame.

    Args:
        process: inner frame processor, which is called with each frame.
        turn: turn of the camera.
    """

    def __init__(self, process: FrameProcess, turn: Turn) -> None:
        self._process, self._turn = process, turn

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Wait for the turn, and process a frame."""
        with self._turn:
            return self._process(frame, time_s=time_s)

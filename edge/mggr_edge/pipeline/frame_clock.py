"""Frame times as the filters need them: always going up, whatever the source's clock does."""

from __future__ import annotations

from mggr_edge.common.gaps import MAX_GAP_S

_UNKNOWN_STEP_S = 1 / 30
"""Step between frames until one is known."""


class FrameClock:
    """Turns the times of one video's frames into strictly rising ones.

    A time that is later than all before passes unchanged. One that repeats or goes back a
    little, as in a video whose frames carry one time in pairs, becomes half of a usual step after
    the one before: filters neither divide by zero nor stand still with a clock that does.
    """

    def __init__(self) -> None:
        self._given_s: float | None = None
        self._time_s = 0.0
        self._step_s = _UNKNOWN_STEP_S

    def goes_back_far(self, time_s: float) -> bool:
        """Whether this time is so much earlier than the last that another video has begun."""
        return self._given_s is not None and time_s < self._given_s - MAX_GAP_S

    def __call__(self, time_s: float) -> float:
        """Takes the time of the next frame in seconds, and returns a rising one."""
        if self._given_s is None:
            self._time_s = time_s
        else:
            if time_s > self._given_s:
                self._step_s = time_s - self._given_s
            # A usual step is also bounded by the gap after which faces are forgotten.
            least_s = min(self._step_s, MAX_GAP_S) / 2
            self._time_s = time_s if time_s > self._time_s else self._time_s + least_s
        self._given_s = time_s
        return self._time_s

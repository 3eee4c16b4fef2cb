"""Times of live frames: the source's own where it has a clock, those of arrival elsewhere.

Frames arrive in bursts, late and in pairs; a source's timestamps say when they were taken, and
filters and recordings need that. But a source's clock may be missing, repeat a time, restart
with the connection, jump, or run at another rate. So it is followed as long as it is plausible
against the times of arrival; where it is not, time goes on by the time of arrival, and the
source's clock is followed from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from mggr_edge.common.timing import MAX_GAP_S

_LATEST_S = 5.0
"""A frame that is later than this is later than any source may be silent: the clocks differ."""

_RATES = (0.9, 1.1)
"""A source's clock against this machine's: quartz differs by a ten-thousandth."""

_LEAST_STEP_S = 0.001
"""Between two frames: a recording's ticks and a filter's steps stay apart."""


@dataclass(frozen=True)
class _Instant:
    """One frame by three clocks, in seconds.

    Attributes:
        stream_s: by the source's clock.
        arrived_s: by this machine's.
        time_s: as it was given out.
    """

    stream_s: float
    arrived_s: float
    time_s: float


class StreamClock:
    """Times of the frames of one source, strictly rising, from 0 on."""

    def __init__(self) -> None:
        self._is_trusted = True
        self._arrived_s: float | None = None
        self._time_s = 0.0
        # The last frame with a time of the source's, the one that times are counted from, and
        # the one from which on the source's clock went on without a break.
        self._last: _Instant | None = None
        self._anchor: _Instant | None = None
        self._unbroken_from: _Instant | None = None

    def time_s(self, stream_s: float | None, *, arrived_s: float) -> float:
        """Takes the next frame and returns its time in seconds since the first one.

        Args:
            stream_s: by the source's clock; None where it has none.
            arrived_s: by this machine's clock, which never goes back.
        """
        arrival_step_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        by_arrival_s = self._time_s + max(arrival_step_s, _LEAST_STEP_S)
        if self._arrived_s is None:
            by_arrival_s = 0.0
        self._arrived_s = arrived_s
        if stream_s is None or not isfinite(stream_s) or not self._is_trusted:
            self._time_s = by_arrival_s
            return by_arrival_s
        self._time_s = self._by_stream(stream_s, arrived_s, by_arrival_s)
        self._last = _Instant(stream_s, arrived_s, self._time_s)
        self._check(self._last)
        return self._time_s

    def _by_stream(self, stream_s: float, arrived_s: float, by_arrival_s: float) -> float:
        if self._last is not None and stream_s == self._last.stream_s:
            return by_arrival_s
        if self._anchor is None or not self._is_plausible(stream_s, arrived_s):
            self._anchor = self._unbroken_from = _Instant(stream_s, arrived_s, by_arrival_s)
            return by_arrival_s
        by_stream_s = self._anchor.time_s + stream_s - self._anchor.stream_s
        if by_stream_s < self._time_s - MAX_GAP_S:
            # Times of arrival have run ahead: going on from here beats many tiny steps.
            self._anchor = _Instant(stream_s, arrived_s, by_arrival_s)
            return by_arrival_s
        return max(by_stream_s, self._time_s + _LEAST_STEP_S)

    def _is_plausible(self, stream_s: float, arrived_s: float) -> bool:
        """Whether the source's clock went on, by no more than frames can have been held back."""
        assert self._last is not None
        held_back_s = max(0.0, self._late_s(self._last))
        step_s = stream_s - self._last.stream_s
        return 0 < step_s <= arrived_s - self._last.arrived_s + held_back_s + MAX_GAP_S

    def _late_s(self, frame: _Instant) -> float:
        """By how much later a frame arrived than the one that times are counted from."""
        assert self._anchor is not None
        arrived_s = frame.arrived_s - self._anchor.arrived_s
        return arrived_s - (frame.stream_s - self._anchor.stream_s)

    def _check(self, frame: _Instant) -> None:
        """Counts from here where clocks have drifted apart; gives up one of another rate."""
        if abs(self._late_s(frame)) <= _LATEST_S:
            return
        assert self._unbroken_from is not None
        self._anchor = frame
        passed_s = frame.arrived_s - self._unbroken_from.arrived_s
        low, high = _RATES
        rate = (frame.stream_s - self._unbroken_from.stream_s) / max(passed_s, _LEAST_STEP_S)
        # What was sent at once after the connection tells no rate.
        self._is_trusted = passed_s < _LATEST_S or low <= rate <= high

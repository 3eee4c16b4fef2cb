"""The newest frame of a live source, with its time.

Frames arrive in bursts, late and in pairs; a source's timestamps say when they were taken, and
filters and recordings need that. But a source's clock may be missing, repeat a time, restart
with the connection, jump, or run at another rate. So it is followed as long as it is plausible
against the times of arrival; where it is not, time goes on by the time of arrival, and the
source's clock is followed from there on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import abandon
from mggr_edge.common.timing import MAX_GAP_S
from mggr_edge.media.live.sources import Capture, stream_time_s

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


class LatestFrameReader:
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

    def __enter__(self) -> LatestFrameReader:
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

"""Reader for the newest frame of a live source, and computation of frame times.

Frames arrive late, in bursts and in pairs. Filters and recordings need the capture times, which the
timestamps of the source provide. However, the clock of a source may be missing, repeat a time,
restart with the connection, jump, or run at another rate. Therefore the source's clock is used only
while it is plausible compared with the arrival times. At an implausible timestamp, the time
advances by the arrival time, and the source's clock is used again from that frame on.
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
"""Maximum difference in seconds between the elapsed times of this machine's and the source's clock.

A capture reports a loss after this time without a frame. A larger difference is therefore not a
delay of frames: the clocks have drifted apart."""

_RATES = (0.9, 1.1)
"""Accepted range of the rate of a source's clock divided by the rate of this machine's clock.

Quartz clocks differ only by a factor of about 0.0001."""

_LEAST_STEP_S = 0.001
"""Minimum time between two frames in seconds.

It keeps the ticks of recordings and the steps of filters distinct."""


@dataclass(frozen=True)
class _Instant:
    """Times of one frame by three clocks.

    Attributes:
        stream_s: timestamp of the source's clock in seconds.
        arrived_s: arrival time by this machine's clock in seconds.
        time_s: time that `StreamClock` returned, in seconds.
    """

    stream_s: float
    arrived_s: float
    time_s: float


class StreamClock:
    """Computes strictly increasing times, starting at 0, for the frames of one source."""

    def __init__(self) -> None:
        self._is_trusted = True
        self._arrived_s: float | None = None
        self._time_s = 0.0
        # `_last` is the last frame with a source timestamp. `_anchor` is the reference frame from
        # which times are computed. `_unbroken_from` is the frame since which the source's clock has
        # had no break.
        self._last: _Instant | None = None
        self._anchor: _Instant | None = None
        self._unbroken_from: _Instant | None = None

    def time_s(self, stream_s: float | None, *, arrived_s: float) -> float:
        """Return the time of the next frame in seconds since the first frame.

        Args:
            stream_s: timestamp of the source's clock in seconds; None if the frame has none.
            arrived_s: arrival time by this machine's monotonic clock in seconds.
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
            # The arrival times were ahead of the source's clock. A new anchor avoids a long series
            # of minimum steps.
            self._anchor = _Instant(stream_s, arrived_s, by_arrival_s)
            return by_arrival_s
        return max(by_stream_s, self._time_s + _LEAST_STEP_S)

    def _is_plausible(self, stream_s: float, arrived_s: float) -> bool:
        """Return whether the step of the source's clock since the last frame is plausible.

        The step must be positive. It may exceed the step of the arrival times only by the lateness
        of the last frame plus `MAX_GAP_S`.
        """
        assert self._last is not None
        held_back_s = max(0.0, self._late_s(self._last))
        step_s = stream_s - self._last.stream_s
        return 0 < step_s <= arrived_s - self._last.arrived_s + held_back_s + MAX_GAP_S

    def _late_s(self, frame: _Instant) -> float:
        """Return the additional delay of a frame in seconds, relative to the anchor frame."""
        assert self._anchor is not None
        arrived_s = frame.arrived_s - self._anchor.arrived_s
        return arrived_s - (frame.stream_s - self._anchor.stream_s)

    def _check(self, frame: _Instant) -> None:
        """Set a new anchor if the clocks have drifted apart, and distrust a clock of another rate.

        A source's clock that is not trusted is ignored for all later frames.
        """
        if abs(self._late_s(frame)) <= _LATEST_S:
            return
        assert self._unbroken_from is not None
        self._anchor = frame
        passed_s = frame.arrived_s - self._unbroken_from.arrived_s
        low, high = _RATES
        rate = (frame.stream_s - self._unbroken_from.stream_s) / max(passed_s, _LEAST_STEP_S)
        # The rate is not checked shortly after the connection, because a burst of frames at the
        # start does not allow an estimate of the rate.
        self._is_trusted = passed_s < _LATEST_S or low <= rate <= high


_LOOK_S = 0.1
"""Interval in seconds at which a waiting consumer calls `meanwhile`."""

_GRACE_S = 0.5
"""Time in seconds to wait for the reader thread to stop; a hung reader is then abandoned."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a live source with its time.

    Attributes:
        rgb: pixels, [H, W, 3] uint8.
        time_s: strictly increasing time in seconds since the first frame. It is based on the
            source's clock if that is plausible, otherwise on the arrival times (`StreamClock`).
        number: index of the frame among all received frames, including dropped frames, from 0.
    """

    rgb: NDArray[np.uint8]
    time_s: float
    number: int = 0


class LatestFrameReader:
    """Reader thread that keeps only the newest frame of a source.

    A new frame replaces a frame that was not consumed yet. Frames therefore do not wait in a queue,
    and a slow consumer always gets the newest frame. The reader thread also closes the source,
    because a source must not be closed while it is read, and because a hung source must not block
    the end of the program.

    Attributes:
        dropped: number of frames that were replaced before they were consumed.

    Args:
        capture: source to read.
        stop: event that ends the reading; any thread may set it.
        beat: callback for the heartbeat, which the reader thread calls before each read.
        meanwhile: callback that the consumer calls repeatedly while it waits for a frame.
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
        """Yield frames until the source ends or `stop` is set.

        Raises:
            StreamError: the source is lost; the error is raised after the last received frame.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> LiveFrame | None:
        while not self._has_news(within_s=_LOOK_S):
            # The lock is not held here, because `meanwhile` may take seconds to close a file, and
            # the reader thread must not wait for it.
            self._meanwhile()
        with self._changed:
            frame, self._waiting = self._waiting, None
        if self._stop.is_set():
            return None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def _has_news(self, *, within_s: float) -> bool:
        """Wait for a frame, the end or `stop`; return False after `within_s` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._waiting is not None or self._has_ended or self._stop.is_set(),
                within_s,
            )

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self._error = error
        # The end is reported before the source is closed, because closing may hang in a driver or
        # fail.
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

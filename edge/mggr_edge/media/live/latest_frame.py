"""Read the newest frame of a live source, and compute the time of each frame.

Frames arrive late, in bursts and in pairs. Filters and recordings need the times at which the
frames were captured. The timestamps of the source provide these times. However, a source may have
no clock. The clock may also repeat a time, restart with the connection, jump, or run at a wrong
rate. Therefore, each timestamp is compared with the arrival time of the frame. If a timestamp is
not plausible, the frame gets a time that is computed from its arrival time. For the next frames,
the source's clock is used again.
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
"""Maximum drift of the source's clock relative to the clock of this machine, in seconds.

A delay of frames does not explain a larger drift. If no frame arrives for this time, a capture
reports that the source is lost."""

_RATES = (0.9, 1.1)
"""Accepted range of the rate of a source's clock, relative to the rate of this machine's clock.

The rates of two quartz clocks differ only by about 0.01 %."""

_LEAST_STEP_S = 0.001
"""Minimum time between two frames in seconds.

With this minimum, two frames never have the same tick in a recording, and filters never get a step
of zero."""


@dataclass(frozen=True)
class _Instant:
    """Time of a frame on three clocks.

    Attributes:
        stream_s: timestamp of the frame, in seconds of the source's clock.
        arrived_s: arrival time of the frame, in seconds of this machine's clock.
        time_s: time that `StreamClock` returned for the frame, in seconds.
    """

    stream_s: float
    arrived_s: float
    time_s: float


class StreamClock:
    """Computes the times of the frames of one source.

    The first time is 0. Each time is later than the time of the frame before.
    """

    def __init__(self) -> None:
        self._is_trusted = True
        self._arrived_s: float | None = None
        self._time_s = 0.0
        # `_last` is the last frame with a timestamp. `_anchor` is the reference frame: times are
        # computed as differences from the timestamp of this frame. `_unbroken_from` is the first
        # frame after the last restart or jump of the source's clock.
        self._last: _Instant | None = None
        self._anchor: _Instant | None = None
        self._unbroken_from: _Instant | None = None

    def time_s(self, stream_s: float | None, *, arrived_s: float) -> float:
        """Return the time of the next frame in seconds since the first frame.

        Args:
            stream_s: timestamp of the frame, in seconds of the source's clock. `None` means that
                the frame has no timestamp.
            arrived_s: arrival time of the frame, in seconds of this machine's monotonic clock.
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
            # The returned times are ahead of the source's clock. Without a new anchor, many frames
            # would get the minimum step.
            self._anchor = _Instant(stream_s, arrived_s, by_arrival_s)
            return by_arrival_s
        return max(by_stream_s, self._time_s + _LEAST_STEP_S)

    def _is_plausible(self, stream_s: float, arrived_s: float) -> bool:
        """Return whether the step of the source's clock since the last frame is plausible.

        The step must be positive. The step may be longer than the step of the arrival times, but at
        most by the delay of the last frame plus `MAX_GAP_S`.
        """
        assert self._last is not None
        held_back_s = max(0.0, self._late_s(self._last))
        step_s = stream_s - self._last.stream_s
        return 0 < step_s <= arrived_s - self._last.arrived_s + held_back_s + MAX_GAP_S

    def _late_s(self, frame: _Instant) -> float:
        """Return the delay of a frame minus the delay of the anchor frame, in seconds."""
        assert self._anchor is not None
        arrived_s = frame.arrived_s - self._anchor.arrived_s
        return arrived_s - (frame.stream_s - self._anchor.stream_s)

    def _check(self, frame: _Instant) -> None:
        """Check whether the source's clock has drifted away from this machine's clock.

        After a large drift, a new anchor is set. If the rate of the source's clock is wrong, this
        clock is ignored for all later frames.
        """
        if abs(self._late_s(frame)) <= _LATEST_S:
            return
        assert self._unbroken_from is not None
        self._anchor = frame
        passed_s = frame.arrived_s - self._unbroken_from.arrived_s
        low, high = _RATES
        rate = (frame.stream_s - self._unbroken_from.stream_s) / max(passed_s, _LEAST_STEP_S)
        # The rate is not checked in the first seconds after a connection. The source may send many
        # frames at once, and the rate cannot be estimated from these frames.
        self._is_trusted = passed_s < _LATEST_S or low <= rate <= high


_LOOK_S = 0.1
"""Interval in seconds between two calls of `meanwhile`, while the consumer waits for a frame."""

_GRACE_S = 0.5
"""Maximum time in seconds to wait until the reader thread stops.

If the thread is still running after this time, the program continues without it."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a live source with its time.

    Attributes:
        rgb: pixels, [H, W, 3] uint8.
        time_s: time in seconds since the first frame. Each frame has a later time than the frame
            before. If the source's clock is plausible, the time is computed from this clock.
            Otherwise, the time is computed from the arrival times; see `StreamClock`.
        number: index of the frame, starting at 0. Dropped frames are included in the numbering.
        arrived_s: time at which the frame was read, in seconds of `time.monotonic`.
    """

    rgb: NDArray[np.uint8]
    time_s: float
    number: int = 0
    arrived_s: float = 0.0


class LatestFrameReader:
    """Reader thread that keeps only the newest frame of a source.

    If the consumer has not fetched the previous frame yet, a new frame replaces the previous frame.
    Therefore, frames do not wait in a queue, and a slow consumer always gets the newest frame.

    The reader thread also closes the source, for two reasons. A source must not be closed while it
    is read. A hung source must not block the end of the program.

    Attributes:
        dropped: number of frames that were replaced before the consumer fetched them.

    Args:
        capture: source of the frames.
        stop: event that ends the reading. Any thread may set the event.
        beat: callback that updates the heartbeat. The reader thread calls `beat` before each read.
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
            StreamError: the source is lost. The last received frame is yielded before the error is
                raised.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> LiveFrame | None:
        while not self._has_news(within_s=_LOOK_S):
            # The lock is released here. `meanwhile` may need seconds to close a file, and the
            # reader thread must not wait for this.
            self._meanwhile()
        with self._changed:
            frame, self._waiting = self._waiting, None
        if self._stop.is_set():
            return None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def _has_news(self, *, within_s: float) -> bool:
        """Wait for a frame, the end of the source, or `stop`.

        Returns:
            `True` if one of these events occurred. `False` after `within_s` seconds without an
            event.
        """
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
        # The end is reported before the source is closed, because the call of `close` may fail or
        # hang in a driver.
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
            arrived_s = time.monotonic()
            time_s = clock.time_s(stream_time_s(self._capture), arrived_s=arrived_s)
            with self._changed:
                self.dropped += self._waiting is not None
                self._waiting = LiveFrame(rgb, time_s, number, arrived_s)
                self._changed.notify()
            number += 1

"""Show the frame rate on the frames and in the log, and set the strength that the user chooses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import resident_mb
from mggr_edge.media.live.cameras import Controls
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess, FrameResult

_LOOK_BACK_S = 2.0
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class FrameRate:
    """Meter of the frame rate, in frames per second over the last two seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def tick(self) -> float:
        """Count a frame and return the frame rate. The rate is 0 before the second frame."""
        now = time.monotonic()
        self._times_s.append(now)
        while now - self._times_s[0] > _LOOK_BACK_S:
            self._times_s.popleft()
        span_s = now - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0


class StatusLine:
    """Function that writes the frame rate into a frame, in the upper left corner.

    Args:
        state: function that returns the text to write after the frame rate.
    """

    def __init__(self, state: Callable[[], str]) -> None:
        self._state, self._rate = state, FrameRate()

    def __call__(self, before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
        """Return a copy of the result's frame with the status line."""
        shown = result.frame.copy()
        scale = max(0.4, shown.shape[0] / 1200)
        text = f"{self._rate.tick():.0f} fps, {self._state()}"
        place = (round(12 * scale), round(30 * scale))
        for paint, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                shown, text, place, _FONT, scale, paint, round(thickness * scale) + 1, cv2.LINE_AA
            )
        return shown


class PeriodicStats:
    """Frame processor that reports the time per stage at regular intervals.

    Args:
        process: inner frame processor, which is called with each frame.
        stats: function that returns the times per stage so far, as a table.
        every_s: interval between two reports in seconds.
        notify: function that receives the reports.
    """

    def __init__(
        self,
        process: FrameProcess,
        stats: Callable[[], str],
        *,
        every_s: float,
        notify: Callable[[str], None],
    ) -> None:
        self._process, self._stats, self._every_s, self._notify = process, stats, every_s, notify
        self._since_s = time.monotonic()
        self._frames = self._all_frames = 0

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Process a frame; if the interval since the last report has passed, report the times."""
        result = self._process(frame, time_s=time_s)
        self._frames += 1
        self._all_frames += 1
        took_s = time.monotonic() - self._since_s
        if took_s >= self._every_s:
            rate = self._frames / took_s
            held_mb = resident_mb()
            memory = "" if held_mb is None else f", {held_mb:.1f} MB of memory"
            self._notify(
                f"{rate:.1f} frames per second, {self._all_frames} frames so far{memory}; time per "
                f"stage:\n{self._stats()}"
            )
            self._since_s, self._frames = time.monotonic(), 0
        return result


class AdjustableStrength:
    """Frame processor that sets the strength of the redirector to the value that the user chose.

    Args:
        process: inner frame processor, which passes the frames to the redirector.
        redirector: redirector whose strength is set before each frame.
        controls: settings that the user changes with keys.
    """

    def __init__(self, process: FrameProcess, redirector: Redirector, controls: Controls) -> None:
        self._process, self._redirector, self._controls = process, redirector, controls

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Set the strength and process a frame."""
        controls = self._controls
        self._redirector.strength = controls.strength if controls.is_on else 0.0
        return self._process(frame, time_s=time_s)

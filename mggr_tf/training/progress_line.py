"""Progress line of a training: steps, rate and remaining time."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from mggr_edge.common.progress import PATIENCE_S
from mggr_tf.config.stages import OF_GAZE, Stage, StageConfig

_WINDOW_S = 30.0
_FEWEST_STEPS = 5
"""Minimum number of recent steps for the rate, even if they are older than `_WINDOW_S`."""


class Pace:
    """Measurement of the step rate. The caller passes the time, in seconds of any clock.

    Pauses between steps (validation, sheets) are excluded. The first step is ignored, because it
    traces the graph.

    Args:
        now: start time of the first step, seconds.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self._stepped_s = self._paused_s = self._paused_now_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # (when it ended, seconds)
        self._traced = False

    def step(self, now: float) -> None:
        """Record the end of a step at the time `now`."""
        seconds = max(0.0, now - self._last - self._paused_now_s)
        self._last, self._paused_now_s = now, 0.0
        if not self._traced:
            self._traced = True
            return
        self._stepped_s += seconds
        self._recent.append((now, seconds))
        while len(self._recent) > _FEWEST_STEPS and self._recent[0][0] < now - _WINDOW_S:
            self._recent.popleft()

    def pause(self, seconds: float) -> None:
        """Exclude a pause since the last step from the duration of the next step."""
        self._paused_now_s += seconds
        self._paused_s += seconds

    def steps_a_second(self) -> float | None:
        """Return the steps per second over the last 30 s; None before the second step ends."""
        spent = sum(seconds for _, seconds in self._recent)
        return len(self._recent) / spent if spent > 0 else None

    def seconds_left(self, steps: int) -> float | None:
        """Estimate the duration of the remaining steps in seconds, including pauses.

        The estimate assumes that the share of pauses remains the same. It uses the median of the
        recent steps, which ignores steps that other load on the machine has slowed down. It is
        None before the second step ends.

        Args:
            steps: number of remaining steps.
        """
        if self._stepped_s <= 0:
            return None
        each = statistics.median(seconds for _, seconds in self._recent)
        return steps * each * (1 + self._paused_s / self._stepped_s)


_TERMINAL_EVERY_S = 0.1
_LOG_EVERY_S = 30.0
_UNKNOWN_WIDTH = 80
_SMOOTHING = 0.05
"""Weight of a new value in the exponential average that is shown, over about 20 steps."""


def images_a_step(stage: Stage, config: StageConfig) -> int:
    """Return the number of images that the trained network processes per step, on all devices.

    An estimator processes both images of a pair. A redirector generates one image per pair, and
    one more for each additional discriminator update.
    """
    if stage not in OF_GAZE:
        return config.critic_steps * config.batch
    portraits = 0 if config.portraits is None else config.portraits.pairs
    return 2 * (config.batch + portraits)


class ProgressLine:
    """Context manager that shows step, loss, metrics, images per second and remaining time.

    On a terminal it shows one line, which is rewritten at most ten times per second and is never
    wider than the terminal; if the width is too small, the last metrics are omitted first. On
    other streams it writes a plain line every 30 seconds and one at the end, but none for
    trainings shorter than two seconds. Such a line consists of `key=value` fields in a fixed
    order, for `grep` and `awk` (here wrapped):

        stage=joint step=120 total=5000 elapsed_s=61 steps_per_s=1.97 images_per_s=31.5
        eta_s=2477 loss=0.312 l1=0.051

    The fields are the seconds since the stage started or was resumed, steps and images per second
    over the last 30 seconds, the remaining seconds (0 at the end), and the smoothed metrics.
    Values that are unknown before the second step are `-`.

    Args:
        label: name of the stage.
        total: total number of steps.
        done: number of steps completed at the start.
        images_a_step: images per step, see the function `images_a_step`.
        stream: output stream, usually `sys.stderr`; None shows no progress.
        clock: returns the time in seconds.

    Example:
        >>> with ProgressLine("joint", 3, images_a_step=16, stream=None) as line:
        ...     for step in range(1, 4):
        ...         line.tell(step, {"loss": 1.0 / step})
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        images_a_step: int,
        stream: TextIO | None,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._total, self._done = label, total, done
        self._images, self._stream, self._clock = images_a_step, stream, clock
        self._on_terminal = stream is not None and stream.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._on_terminal else _LOG_EVERY_S
        self._shown: dict[str, float] = {}
        self._covered = 0
        self._started = self._drawn_at = clock()
        self._pace = Pace(self._started)

    def __enter__(self) -> ProgressLine:
        if self._on_terminal:
            self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._on_terminal:
            self._draw()
            self._write("\n")
        elif self._clock() - self._started >= PATIENCE_S:
            self._draw()

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        """Record the end of a step, and update the line if it is due.

        Args:
            step: number of the step, from 1.
            values: metrics of the step in display order; the displayed values are smoothed.
        """
        now = self._clock()
        self._done = step
        self._pace.step(now)
        for name, value in values.items():
            before = self._shown.get(name, value)
            self._shown[name] = before + _SMOOTHING * (value - before)
        if now - self._drawn_at >= self._every_s:
            self._draw()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Return a context for work between steps: validation, a sheet or a checkpoint."""
        began = self._clock()
        try:
            yield
        finally:
            self._pace.pause(self._clock() - began)

    def _draw(self) -> None:
        self._drawn_at = self._clock()
        if not self._on_terminal:
            self._write(self._log_line() + "\n")
            return
        # The last column stays empty, because some terminals wrap the line if it is filled.
        room = max(1, self._width() - 1)
        text = _fitted(self._head(), self._metrics(), self._tail(), room)
        self._write("\r" + text.ljust(min(self._covered, room)))
        self._covered = len(text)

    def _log_line(self) -> str:
        rate = self._pace.steps_a_second()
        left = self._pace.seconds_left(self._total - self._done)
        fields = {
            "stage": self._label,
            "step": str(self._done),
            "total": str(self._total),
            "elapsed_s": f"{self._clock() - self._started:.0f}",
            "steps_per_s": "-" if rate is None else f"{rate:.3g}",
            "images_per_s": "-" if rate is None else f"{rate * self._images:.3g}",
            "eta_s": "-" if left is None else f"{left:.0f}",
            **{name: f"{value:.3g}" for name, value in self._shown.items()},
        }
        return " ".join(f"{key}={value}" for key, value in fields.items())

    def _head(self) -> str:
        return f"{self._label} {self._done}/{self._total}"

    def _metrics(self) -> list[str]:
        return [f"{name} {value:.3g}" for name, value in self._shown.items()]

    def _tail(self) -> list[str]:
        if self._done >= self._total:
            last = f"in {in_words(self._clock() - self._started)}"
        else:
            left = self._pace.seconds_left(self._total - self._done)
            last = "" if left is None else f"ETA {in_words(left)}"
        rate = self._pace.steps_a_second()
        return [*([] if rate is None else [f"{rate * self._images:.3g} images/s"]), last]

    def _width(self) -> int:
        assert self._stream is not None
        try:
            # A terminal of unknown size reports 0 columns.
            return os.get_terminal_size(self._stream.fileno()).columns or _UNKNOWN_WIDTH
        except (OSError, ValueError):
            return _UNKNOWN_WIDTH

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def in_words(seconds: float) -> str:
    """Format a duration: `45 s`, `12 min`, `1 h 12 min`, `2 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _joined(head: str, metrics: list[str], tail: list[str]) -> str:
    return "  ".join(part for part in (head, *metrics, *tail) if part)


def _fitted(head: str, metrics: list[str], tail: list[str], room: int) -> str:
    """Return the line with as many metrics as fit into `room` characters, truncated to `room`."""
    for kept in range(len(metrics), -1, -1):
        text = _joined(head, metrics[:kept], tail)
        if len(text) <= room:
            return text
    return text[:room]

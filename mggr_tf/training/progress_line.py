"""Progress line of a training. It shows steps, metrics, speed and remaining time."""

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
"""Minimum number of recent steps from which the speed is computed.

These steps are used even if they are older than `_WINDOW_S`.
"""


class Pace:
    """Measures the number of steps per second.

    The caller passes the time to each method, in seconds of any clock. The measurement excludes
    pauses between steps, such as a validation. It also excludes the first step, because TensorFlow
    traces the training step at its first call.

    Args:
        now: start time of the first step, seconds.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self._stepped_s = self._paused_s = self._paused_now_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # (end, duration) of each step, seconds
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
        """Subtract a pause after the last step from the measured duration of the next step."""
        self._paused_now_s += seconds
        self._paused_s += seconds

    def steps_a_second(self) -> float | None:
        """Return the steps per second over the last 30 s. `None` before the second step ends."""
        spent = sum(seconds for _, seconds in self._recent)
        return len(self._recent) / spent if spent > 0 else None

    def seconds_left(self, steps: int) -> float | None:
        """Estimate the time for the remaining steps, seconds.

        The estimate uses the median duration of the recent steps. Therefore a few slow steps do not
        change the estimate. The estimate includes future pauses, in proportion to the pauses so
        far. The result is `None` before the end of the second step.

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
"""Weight of a new value in the exponential average of a metric.

The line shows this average, which covers about 20 steps.
"""


def images_a_step(stage: Stage, config: StageConfig) -> int:
    """Return the number of images that the trained network processes in each step, on all devices.

    An estimator processes both images of a pair. A redirector generates one image for each pair. If
    a step has several discriminator updates, the redirector generates one image for each pair and
    update.
    """
    if stage not in OF_GAZE:
        return config.critic_steps * config.batch
    portraits = 0 if config.portraits is None else config.portraits.pairs
    return 2 * (config.batch + portraits)


class ProgressLine:
    """Context manager that shows step, loss, metrics, images per second and remaining time.

    On a terminal, one line is updated at most ten times per second. The line is never wider than
    the terminal: If there is not enough space, the last metrics are omitted.

    On other streams, a new line is written every 30 seconds and at the end. If the training takes
    less than two seconds, no line is written. A line consists of fields `key=value` in a fixed
    order, so that `grep` and `awk` can read them. In this example, the line is broken into two
    lines:

        stage=joint step=120 total=5000 elapsed_s=61 steps_per_s=1.97 images_per_s=31.5
        eta_s=2477 loss=0.312 l1=0.051

    `elapsed_s` is the time since the stage was started or resumed. `steps_per_s` and `images_per_s`
    are averages over the last 30 seconds. `eta_s` is the remaining time, which is 0 at the end. The
    metrics are smoothed. Before the second step, unknown values are shown as `-`.

    Args:
        label: name of the stage.
        total: total number of steps.
        done: number of steps that are already complete at the start.
        images_a_step: number of images in each step; see the function `images_a_step`.
        stream: output stream, usually `sys.stderr`. `None` shows no progress.
        clock: function that returns the time in seconds.

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
        """Record the end of a step. If the update interval has passed, update the line.

        Args:
            step: number of the step. The first step has the number 1.
            values: metrics of the step, in the order in which the line shows them.
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
        """Return a context manager for work between steps, such as a validation or a checkpoint."""
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
        # Do not use the last column. Some terminals begin a new line if the last column is used.
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
    """Return a duration as text, for example `45 s`, `12 min`, `1 h 12 min` or `2 d 3 h`."""
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
    """Return the text of the line, with at most `room` characters.

    The line contains as many metrics as fit. If the line is too long even without metrics, it is
    truncated.
    """
    for kept in range(len(metrics), -1, -1):
        text = _joined(head, metrics[:kept], tail)
        if len(text) <= room:
            return text
    return text[:room]

"""The progress line of a training: steps, rate, time left."""

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
"""Looked back at, however long they took."""


class Pace:
    """Times steps. No clock of its own: the time is passed in, in seconds of any clock.

    Steps count without the pauses between them (validation, sheets). The first step counts
    nowhere: it traces the graph.

    Args:
        now: when the first step begins.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self._stepped_s = self._paused_s = self._paused_now_s = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # (when it ended, seconds)
        self._traced = False

    def step(self, now: float) -> None:
        """A step has ended."""
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
        """So much of the time since the last step was none of the next one's."""
        self._paused_now_s += seconds
        self._paused_s += seconds

    def steps_a_second(self) -> float | None:
        """Over the last half minute; None before there are steps to tell by."""
        spent = sum(seconds for _, seconds in self._recent)
        return len(self._recent) / spent if spent > 0 else None

    def seconds_left(self, steps: int) -> float | None:
        """What so many steps will take, with pauses as they were; None like `steps_a_second`.

        The median of the recent steps: one in which the machine was busy elsewhere is not
        the rule.
        """
        if self._stepped_s <= 0:
            return None
        each = statistics.median(seconds for _, seconds in self._recent)
        return steps * each * (1 + self._paused_s / self._stepped_s)


_TERMINAL_EVERY_S = 0.1
_LOG_EVERY_S = 30.0
_UNKNOWN_WIDTH = 80
_SMOOTHING = 0.05
"""How much of a new value gets into what is shown: some twenty steps together."""


def images_a_step(stage: Stage, config: StageConfig) -> int:
    """How many pictures the trained network is asked about in a step, over all devices.

    An estimator reads both pictures of a pair; a redirector makes one of each, and one more
    for every further step of its critic.
    """
    if stage not in OF_GAZE:
        return config.critic_steps * config.batch
    portraits = 0 if config.portraits is None else config.portraits.pairs
    return 2 * (config.batch + portraits)


class ProgressLine:
    """Shows step, loss, metrics, images a second and the time left; a context.

    On a terminal it is one line, rewritten in place ten times a second at most and never
    wider than the terminal: where room is short, the last metrics go first. Elsewhere it is a
    plain line every half minute and one at the end, and none for what takes under two seconds.
    Such a line is made of fields `key=value` in a fixed order, for `grep` and `awk`:

        stage=joint step=120 total=5000 elapsed_s=61 steps_per_s=1.97 images_per_s=31.5
        eta_s=2477 loss=0.312 l1=0.051

    (in one line): seconds since the stage began or went on, steps and images a second over the
    last half minute, seconds left (0 at the end), then the step's metrics, smoothed. What is not
    known yet, before the second step, is `-`.

    Args:
        label: what is trained.
        total: steps there will be.
        done: steps there were when this began.
        images_a_step: see the function of that name.
        stream: where it shows, as a rule `sys.stderr`; None: nowhere.
        clock: gives seconds.

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
        """A step has ended.

        Args:
            step: which; steps count from 1.
            values: its metrics, in the order in which they are shown; they are smoothed.
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
        """A context for what is no step: validation, a sheet, a checkpoint."""
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
        # The last column stays free: some terminals wrap as soon as it is filled.
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
            # A terminal of unknown size says 0.
            return os.get_terminal_size(self._stream.fileno()).columns or _UNKNOWN_WIDTH
        except (OSError, ValueError):
            return _UNKNOWN_WIDTH

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def in_words(seconds: float) -> str:
    """A duration: `45 s`, `12 min`, `1 h 12 min`, `2 d 3 h`."""
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
    """With as many of the metrics as there is room for, and no longer than that."""
    for kept in range(len(metrics), -1, -1):
        text = _joined(head, metrics[:kept], tail)
        if len(text) <= room:
            return text
    return text[:room]

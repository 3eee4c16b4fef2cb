"""Resumable training loop.

The loop runs a training step for each batch, writes checkpoints, and calls functions that write
logs. A worker is one process of the training. Worker 0 is the chief.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from mggr_edge.errors import RunError
from mggr_tf.config.resources import CheckpointConfig
from mggr_tf.config.stages import Stage
from mggr_tf.training.checkpoints import Checkpoints
from mggr_tf.training.distribution import (
    Distribution,
    Signals,
    deferred_signals,
    on_all_devices,
    plain_reason,
)
from mggr_tf.training.stage_parts import compiled
from mggr_tf.training.step import Step
from mggr_tf.training.stopping import Divergence, Patience

_LOG_EVERY = 25
_FEWEST_LOGS = 50
"""Minimum number of log entries. Without it, the log of a short training would have one entry."""
_OUTSIDE = "is not in ["
"""Part of TensorFlow's error message for an index that is out of range."""
_LEAST_TIMED_STEPS = 12
_MOST_TIMED_STEPS = 1000
_TIMING_SECONDS = 20.0
"""Time limit for measuring the duration of a step, seconds.

After this time, the measurement may end with fewer than `_LEAST_TIMED_STEPS` steps. This happens
only for large networks.
"""

Batch = dict[str, tf.Tensor]
Values = dict[str, float]
Log = Callable[[int, Values], None]


@dataclass(frozen=True)
class LoopCallbacks:
    """Functions that the loop calls. With several workers, the loop calls them in each worker.

    Attributes:
        tell: called after each step, with the step and its metrics.
        log: called after some of the steps, with the step and the metrics. The metrics are averages
            since the last call.
        saved: called after a checkpoint has been written, with its step.
        sheet: called when a sample sheet must be written, with the step. A sample sheet is an image
            with examples of redirected eyes.
        sheet_steps: steps after which `sheet` is called.
        bad_batch: called when the training diverges, with the step and the batch. The function
            writes the batch to a file, and returns the name of the file.
        validate: called when a validation is necessary, with the step. The function returns the
            validation metric. A smaller metric is better.
        validated_steps: function that returns whether a validation is necessary after a step.
    """

    tell: Callable[[int, Values], None]
    log: Log
    saved: Callable[[int], None]
    sheet: Callable[[int], None]
    sheet_steps: frozenset[int]
    bad_batch: Callable[[int, Batch], str]
    validate: Callable[[int], float]
    validated_steps: Callable[[int], bool]


class WorkerRequest(NamedTuple):
    """Actions that a worker requests. All workers then do these actions after the same step.

    Attributes:
        stop: whether to stop the training.
        save: whether to save a checkpoint.
    """

    stop: bool = False
    save: bool = False


class Loop:
    """Training loop that runs a training step for each batch, on all devices.

    Args:
        step: training step.
        stage: name of the stage.
        distribution: devices to train on.
        batches: function (first, last) that returns an iterator over the batches of the steps
            [first, last).
        folder: folder for checkpoints.
        config: settings for how often checkpoints are written, and how many are kept.
        seed: seed of the run. The loop stores the seed in checkpoints.
        patience: early stopping.
        xla: whether XLA compiles the step.
        warn: called with a message for each checkpoint that cannot be loaded.
    """

    def __init__(
        self,
        step: Step,
        *,
        stage: Stage,
        distribution: Distribution,
        batches: Callable[[int, int], Iterator[Batch]],
        folder: Path,
        config: CheckpointConfig,
        seed: int,
        patience: Patience,
        xla: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._stage, self._distribution, self._batches = stage, distribution, batches
        self._config, self._patience = config, patience
        self._divergence = Divergence()
        self._at = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._changes = tf.Variable(0, dtype=tf.int64, trainable=False, name="changes")
        state = step.state()
        self._variables = [v for thing in state.values() for v in thing.variables]
        self._checkpoints = Checkpoints(
            folder,
            tf.train.Checkpoint(
                step=self._at,
                changes=self._changes,
                **state,
                **patience.state(),
                **self._divergence.state(),
            ),
            seed=seed,
            keep=config.keep,
            writes=distribution.is_chief,
            warn=warn,
        )
        self._saved_at = 0
        self._run = on_all_devices(compiled(step, xla=xla), distribution)

    @property
    def at(self) -> int:
        """Number of completed steps."""
        return int(self._at)

    def restore(self, *, changes: int = 0) -> int:
        """Load the newest checkpoint that is not damaged.

        Args:
            changes: how often the config or the data of the run has changed. If the checkpoint
                contains another number, early stopping and the detection of divergence are reset.
                The reason is that earlier metrics are then not comparable.

        Returns:
            Step of the checkpoint. The result is 0 if there is no checkpoint.

        Raises:
            RunError: no checkpoint is readable. Or the checkpoints contain other networks. Or this
                worker and the chief have loaded checkpoints of different steps.
        """
        self._checkpoints.clear_up()
        step = self._saved_at = self._checkpoints.restore()
        if int(self._changes) != changes:
            self._changes.assign(changes)
            self._patience.begin()
            self._divergence.begin()
        if step != (chiefs := round(self._distribution.agreed(step))):
            raise RunError(
                f"this worker resumes from step {step}, but worker 0 from step {chiefs}; put the "
                "run folder on a file system that all workers share",
                code="resumed-steps-differ",
                step=step,
                chief=chiefs,
            )
        return step

    def seconds_per_step(self, patience_s: float) -> float:
        """Measure the duration of a step. Then restore all variables.

        The first steps are not measured, because TensorFlow traces the step then. The measurement
        takes about `patience_s` seconds. It includes at least 12 steps, but fewer if 12 steps take
        more than 20 seconds. With many steps, other programs on the machine have less influence on
        the result.

        Args:
            patience_s: time for the measurement, seconds.

        Returns:
            Median duration of a step, seconds. All workers return the chief's value.
        """
        before = [(v, tf.identity(v)) for v in self._variables]
        batches = self._batches(0, 2 + _MOST_TIMED_STEPS)
        for _ in range(2):
            self._ask(next(batches), WorkerRequest())
        times: list[float] = []
        enough = False
        try:
            with deferred_signals() as signals:
                while not enough and len(times) < _MOST_TIMED_STEPS:
                    started = time.perf_counter()
                    wishes = WorkerRequest(signals.came, _timed_enough(times, patience_s))
                    _, heard = self._ask(next(batches), wishes)
                    times.append(time.perf_counter() - started)
                    enough = heard.save or heard.stop
                if self._distribution.any(signals.came):
                    signals.heed()
        finally:
            for variable, value in before:
                variable.assign(value)
        # The median is not affected if other programs use the machine for a short time.
        return self._distribution.agreed(statistics.median(times))

    def train(self, total: int, hooks: LoopCallbacks) -> bool:
        """Train from the current step to step `total`, or until early stopping.

        After early stopping, the networks have the weights of the best validation. After Ctrl-C or
        SIGTERM, the loop completes the current step, saves a checkpoint, and raises an exception. A
        second signal interrupts the training immediately.

        Args:
            total: last step.
            hooks: functions that the loop calls.

        Returns:
            Whether early stopping ended the training.

        Raises:
            RunError: the training diverged, or the connection to a worker is lost. After a
                divergence, the run keeps earlier checkpoints and a file with the batch.
            KeyboardInterrupt: Ctrl-C was pressed.
            Preempted: the process received SIGTERM or SIGHUP.
        """
        with deferred_signals() as signals:
            self._train(total, hooks, signals)
            if self._distribution.any(signals.came):
                self._save(hooks)
                signals.heed()
        ended_early = self._patience.is_over
        if ended_early:
            self._checkpoints.restore_best()
        return ended_early

    def _train(self, total: int, hooks: LoopCallbacks, signals: Signals) -> None:
        """Train until the last step, until early stopping, or until a signal.

        All workers stop after the same step.
        """
        if self._patience.is_over:
            return
        means = _Means(max(1, min(_LOG_EVERY, total // _FEWEST_LOGS)), total, hooks.log)
        clock = _Clock(self._config.seconds)
        for batch in self._batches(self.at, total):
            values, heard = self._step(batch, WorkerRequest(signals.came, clock.is_due()), hooks)
            done = self.at
            means.add(done, values)
            hooks.tell(done, values)
            if done in hooks.sheet_steps:
                hooks.sheet(done)
            metric = self._validated(batch, hooks) if hooks.validated_steps(done) else None
            best = metric is not None and self._patience.tell(done, metric)
            if self._distribution.workers == 1:
                # A single worker does not need to agree with other workers. Therefore it can react
                # to a signal or to the timer directly after this step.
                heard = WorkerRequest(signals.came, clock.is_due())
            if best or heard.save or done == total:
                self._save(hooks, metric=metric)
                clock.restart()
            if heard.stop or self._patience.is_over:
                return

    def _step(
        self, batch: Batch, wishes: WorkerRequest, hooks: LoopCallbacks
    ) -> tuple[Values, WorkerRequest]:
        try:
            values, heard = self._ask(batch, wishes)
        except tf.errors.InvalidArgumentError as error:
            # The warp operation raises this error if the flow contains NaN.
            if _OUTSIDE not in error.message:
                raise
            reason = plain_reason(error)
            raise self._diverged(self.at + 1, reason, batch, hooks, code="flow-invalid") from error
        done = int(self._at.assign_add(1))
        if (wrong := self._divergence.tell(values)) is not None:
            raise self._diverged(done, wrong, batch, hooks, code="training-diverged")
        return values, heard

    def _validated(self, batch: Batch, hooks: LoopCallbacks) -> float:
        metric = hooks.validate(self.at)
        if not math.isfinite(metric):
            wrong = "the validation metric is not a finite number"
            raise self._diverged(self.at, wrong, batch, hooks, code="validation-not-finite")
        return metric

    def _diverged(
        self, step: int, wrong: str, batch: Batch, hooks: LoopCallbacks, *, code: str
    ) -> RunError:
        """Remove the checkpoints that may be affected by a divergence, and return the error."""
        self._checkpoints.forget_after(step - self._divergence.block)
        file = hooks.bad_batch(step, batch)
        return RunError(
            f"step {step}: {wrong}; continue with a lower learning rate: --resume "
            f"--changed-config --set stages.{self._stage}.learning_rate=... The batch of this step "
            f"is in {file}",
            code=code,
            stage=self._stage,
            step=step,
            reason=wrong,
            path=file,
        )

    def _ask(self, batch: Batch, wishes: WorkerRequest) -> tuple[Values, WorkerRequest]:
        """Run one step.

        Returns:
            The metrics of the step, and the actions that at least one worker requested before the
            step.
        """
        mine = WorkerRequest(wishes.stop, wishes.save and self._distribution.is_chief)
        values, heard = self._run(batch, tf.constant([float(wish) for wish in mine]))
        return values, WorkerRequest(*(heard > 0))

    def _save(self, hooks: LoopCallbacks, *, metric: float | None = None) -> None:
        done = self.at
        if done == self._saved_at:
            return  # the existing checkpoint of this step may contain a metric, so keep it
        self._checkpoints.save(done, metric=metric)
        self._saved_at = done
        hooks.saved(done)


class _Means:
    """Averages of the metrics over some steps, for the log.

    Args:
        every: number of steps between two log entries.
        total: last step. There is always a log entry for this step.
        log: called with the step and the averages.
    """

    def __init__(self, every: int, total: int, log: Log) -> None:
        self._every, self._total, self._log = every, total, log
        self._sums: Values = {}
        self._count = 0

    def add(self, step: int, values: Values) -> None:
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if step % self._every == 0 or step == self._total:
            self._log(step, {name: value / self._count for name, value in self._sums.items()})
            self._sums, self._count = {}, 0


class _Clock:
    """Timer that expires after a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._started = time.perf_counter()

    def is_due(self) -> bool:
        return time.perf_counter() - self._started > self._seconds


def _timed_enough(times: list[float], patience_s: float) -> bool:
    spent = sum(times)
    few = len(times) < _LEAST_TIMED_STEPS and spent < _TIMING_SECONDS
    return spent >= patience_s and not few

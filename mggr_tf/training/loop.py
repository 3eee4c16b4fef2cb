"""Resumable training loop: runs a step over batches, writes checkpoints and calls back for logs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.errors import RunError
from mggr_tf.config import CheckpointConfig
from mggr_tf.config.stages import Stage
from mggr_tf.training.checkpoints import Checkpoints
from mggr_tf.training.distribution import Distribution, Signals, deferred_signals, plain_reason
from mggr_tf.training.stage_parts import compiled
from mggr_tf.training.step import Step
from mggr_tf.training.stopping import Divergence, Patience

_LOG_EVERY = 25
_FEWEST_LOGS = 50
"""Minimum number of log entries, so that the curve of a short training has more than one point."""
_OUTSIDE = "is not in ["
"""Substring of TensorFlow's message about an index that is out of range."""
_LEAST_TIMED_STEPS = 12
_MOST_TIMED_STEPS = 1000
_TIMING_SECONDS = 20.0
"""Timing limit for large networks: after this time, fewer than `_LEAST_TIMED_STEPS` are enough."""

Batch = dict[str, tf.Tensor]
Values = dict[str, float]
Log = Callable[[int, Values], None]


@dataclass(frozen=True)
class LoopCallbacks:
    """Callbacks of the loop. With several workers, each worker gets the same calls.

    Attributes:
        tell: called after each step with the step and its metrics.
        log: called with the step and the metrics, averaged since the last call.
        saved: called with the step of a checkpoint that has been written.
        sheet: called with the step after which a sample sheet is due.
        sheet_steps: steps after which `sheet` is called.
        bad_batch: called with the step and the batch if the loss is not a finite number or
            explodes. Stores the batch and returns its file.
        validate: called with the step after which a validation is due. Returns the metric;
            smaller is better.
        validated_steps: returns whether a validation is due after a step.
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
    """Actions that a worker requests from all workers after the same step.

    Attributes:
        stop: request to stop training.
        save: request to save a checkpoint.
    """

    stop: bool = False
    save: bool = False


class Loop:
    """Training loop that runs a step over batches on all devices.

    Args:
        step: training step.
        stage: name of the stage.
        distribution: devices to train on.
        batches: returns an iterator over the batches of steps [first, last).
        folder: folder for checkpoints.
        config: interval of the checkpoints, and how many are kept.
        seed: seed of the run, stored in checkpoints.
        patience: early stopping.
        xla: whether XLA compiles the step.
        warn: called with a message for each checkpoint that is skipped.
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
        self._run = _on_all_devices(compiled(step, xla=xla), distribution)

    @property
    def at(self) -> int:
        """Number of completed steps."""
        return int(self._at)

    def restore(self, *, changes: int = 0) -> int:
        """Load the newest intact checkpoint.

        Args:
            changes: number of changes of the run's config or data. If it differs from the number
                in the checkpoint, early stopping and divergence detection are reset, because
                earlier metrics are not comparable.

        Returns:
            Step of the checkpoint; 0 if there is none.

        Raises:
            RunError: no checkpoint is readable, the checkpoints belong to other networks, or this
                worker resumes from another step than the chief.
        """
        self._checkpoints.clear_up()
        step = self._saved_at = self._checkpoints.restore()
        if int(self._changes) != changes:
            self._changes.assign(changes)
            self._patience.begin()
            self._divergence.begin()
        if step != (chiefs := round(self._distribution.agreed(step))):
            raise RunError(
                f"this worker resumes from step {step}, the chief from step {chiefs}; all workers "
                "must use the run folder on one shared file system",
                code="resumed-steps-differ",
                step=step,
                chief=chiefs,
            )
        return step

    def seconds_per_step(self, patience_s: float) -> float:
        """Measure the duration of a step after tracing, and restore all variables afterwards.

        The loop times steps for about `patience_s` seconds, but at least 12 steps unless these
        take more than 20 seconds. With many short steps, a second of other load on the machine
        does not determine the number of steps of a whole stage.

        Args:
            patience_s: time for the measurement, seconds.

        Returns:
            Median duration of a step in seconds; the chief's value on all workers.
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
        # The median ignores short periods of other load on the machine.
        return self._distribution.agreed(statistics.median(times))

    def train(self, total: int, hooks: LoopCallbacks) -> bool:
        """Train from the current step to step `total`, or until early stopping.

        After early stopping the networks have the weights of the best validation. Ctrl-C and
        SIGTERM save a checkpoint between two steps before the exception is raised; a second
        signal interrupts immediately.

        Args:
            total: last step.
            hooks: callbacks.

        Returns:
            Whether early stopping ended the training.

        Raises:
            RunError: the loss is not a finite number or explodes; only the batch of that step and
                the checkpoints before it are kept. Or a worker is lost.
            KeyboardInterrupt: Ctrl-C was pressed. For SIGTERM, the subclass `Preempted`.
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
        """Train until the last step, early stopping or a signal.

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
                # A single worker needs no agreement with others, so it can react to a signal or
                # the timer directly after this step.
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
            # The warp raises this error if the flow contains NaN.
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
        """Return the error for a divergence, and remove the checkpoints that may be affected."""
        self._checkpoints.forget_after(step - self._divergence.block)
        file = hooks.bad_batch(step, batch)
        return RunError(
            f"step {step}: {wrong}; lower the learning rate and continue with --resume "
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
            The metrics, and the requests that at least one worker had before the step.
        """
        mine = WorkerRequest(wishes.stop, wishes.save and self._distribution.is_chief)
        values, heard = self._run(batch, tf.constant([float(wish) for wish in mine]))
        return values, WorkerRequest(*(heard > 0))

    def _save(self, hooks: LoopCallbacks, *, metric: float | None = None) -> None:
        done = self.at
        if done == self._saved_at:
            return  # the checkpoint exists, with its metric, which a second save would not have
        self._checkpoints.save(done, metric=metric)
        self._saved_at = done
        hooks.saved(done)


class _Means:
    """Averages of the metrics over some steps, for the log.

    Args:
        every: number of steps between two log entries.
        total: last step, which is always logged.
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
    """Timer that is due after a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._started = time.perf_counter()

    def is_due(self) -> bool:
        return time.perf_counter() - self._started > self._seconds


def _on_all_devices(
    step: Callable[[Batch], dict[str, tf.Tensor]], distribution: Distribution
) -> Callable[[Batch, tf.Tensor], tuple[Values, NDArray[np.float32]]]:
    """Return a function that runs a step on all devices.

    Returns:
        Function (batch, requests of this worker) -> (metrics, sum of all workers' requests).
    """
    strategy = distribution.strategy
    names: list[str] = []

    def one(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        metrics = step(batch)
        names[:] = metrics
        return tf.stack(list(metrics.values())), tf.identity(wishes)

    @tf.function
    def run(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Reduce one vector instead of single numbers, because each reduction between machines costs
        # a network round trip.
        metrics, wishes = strategy.run(one, args=(batch, wishes))
        total = tf.distribute.ReduceOp.SUM
        return strategy.reduce(total, metrics, axis=None), strategy.reduce(total, wishes, axis=None)

    def ask(batch: Batch, wishes: tf.Tensor) -> tuple[Values, NDArray[np.float32]]:
        metrics, heard = run(batch, wishes)
        return dict(zip(names, metrics.numpy().tolist(), strict=True)), heard.numpy()

    return ask


def _timed_enough(times: list[float], patience_s: float) -> bool:
    spent = sum(times)
    few = len(times) < _LEAST_TIMED_STEPS and spent < _TIMING_SECONDS
    return spent >= patience_s and not few

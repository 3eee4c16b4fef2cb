"""The loop around a step: batches, checkpoints, logs. Resumes where it stopped."""

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
"""Of a short training every step or two is logged: a curve has more than one point."""
_OUTSIDE = "is not in ["
"""What TensorFlow says of an index that lies outside."""
_LEAST_TIMED_STEPS = 12
_MOST_TIMED_STEPS = 1000
_TIMING_SECONDS = 20.0
"""Large networks are timed on fewer steps, so that timing does not eat their budget."""

Batch = dict[str, tf.Tensor]
Values = dict[str, float]
Log = Callable[[int, Values], None]


@dataclass(frozen=True)
class LoopCallbacks:
    """What the loop tells the outside. With several workers it tells each of them the same.

    Attributes:
        tell: this step is done, with these metrics.
        log: metrics, averaged since the last call.
        saved: a checkpoint at this step is on disk.
        sheet: time for a sample sheet at this step.
        sheet_steps: the steps after which `sheet` is called.
        bad_batch: keeps what a step saw whose loss is no number; returns where.
        validate: time to validate after this step; returns the metric, the smaller the better.
        validated_steps: whether there is a validation after a step.
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
    """What a worker wants all of them to do after the same step."""

    stop: bool = False
    save: bool = False


class Loop:
    """Runs a step over batches on all devices.

    Args:
        step: what to run.
        stage: what it is called.
        distribution: the devices.
        batches: gives the batches of steps [first, last), one iterator.
        folder: where checkpoints go.
        config: how often, and how many are kept.
        seed: of the run, for checkpoints to hold.
        patience: when there were enough validations without a better one.
        xla: whether XLA compiles the step.
        warn: called with each checkpoint that is passed over.
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
        """How many steps are done."""
        return int(self._at)

    def restore(self, *, changes: int = 0) -> int:
        """Loads the newest checkpoint that is whole; returns the step it was made at, or 0.

        Args:
            changes: how often config or data of the run were changed. Where that is more than
                when the checkpoint was made, validations and losses begin anew: they would
                compare what is unlike.

        Raises:
            RunError: there are some, and none can be read, or they belong to other networks.
        """
        self._checkpoints.clear_up()
        step = self._saved_at = self._checkpoints.restore()
        if int(self._changes) != changes:
            self._changes.assign(changes)
            self._patience.begin()
            self._divergence.begin()
        if step != (chiefs := round(self._distribution.agreed(step))):
            raise RunError(
                f"this worker goes on from step {step}, the chief from {chiefs}: all of them must "
                "see the run folder on one file system"
            )
        return step

    def seconds_per_step(self, patience_s: float) -> float:
        """Times steps after tracing, for about `patience_s` seconds; puts every variable back.

        Twelve steps at least, within 20 seconds. Short steps are many in that time: a
        second in which the machine was busy elsewhere does not decide a whole stage.
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
        # The median: a moment in which the machine was busy elsewhere is not the rule.
        return self._distribution.agreed(statistics.median(times))

    def train(self, total: int, hooks: LoopCallbacks) -> bool:
        """Trains from where it stands to step `total`, or until patience is over.

        In the latter case the networks are those of the best validation. Ctrl-C and SIGTERM save a
        checkpoint, between two steps, before they go on their way; a second one does not wait.

        Returns:
            whether patience was over.

        Raises:
            RunError: the loss is no longer a number, or explodes; nothing after the last
                checkpoint is kept but the batch that it happened on. Or a worker is gone.
            KeyboardInterrupt: Ctrl-C; `Preempted` for SIGTERM.
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
        """Until the end, patience's end, or a signal: on all workers after the same step."""
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
                # No other worker may act before this one.
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
            # The warp cannot read where a flow points that is no number.
            if _OUTSIDE not in error.message:
                raise
            raise self._diverged(self.at + 1, plain_reason(error), batch, hooks) from error
        done = int(self._at.assign_add(1))
        if (wrong := self._divergence.tell(values)) is not None:
            raise self._diverged(done, wrong, batch, hooks)
        return values, heard

    def _validated(self, batch: Batch, hooks: LoopCallbacks) -> float:
        metric = hooks.validate(self.at)
        if not math.isfinite(metric):
            raise self._diverged(self.at, "validation is no longer a number", batch, hooks)
        return metric

    def _diverged(self, step: int, wrong: str, batch: Batch, hooks: LoopCallbacks) -> RunError:
        """What is said of it; checkpoints from within what exploded do not stay."""
        self._checkpoints.forget_after(step - self._divergence.block)
        return RunError(
            f"step {step}: {wrong}; lower the learning rate and go on with --resume "
            f"--changed-config --set stages.{self._stage}.learning_rate=... What the step saw is "
            f"in {hooks.bad_batch(step, batch)}"
        )

    def _ask(self, batch: Batch, wishes: WorkerRequest) -> tuple[Values, WorkerRequest]:
        """One step; what it gave, and what any worker wished before it."""
        mine = WorkerRequest(wishes.stop, wishes.save and self._distribution.is_chief)
        values, heard = self._run(batch, tf.constant([float(wish) for wish in mine]))
        return values, WorkerRequest(*(heard > 0))

    def _save(self, hooks: LoopCallbacks, *, metric: float | None = None) -> None:
        done = self.at
        if done == self._saved_at:
            return  # and with its metric, which a second one would not have
        self._checkpoints.save(done, metric=metric)
        self._saved_at = done
        hooks.saved(done)


class _Means:
    """Averages metrics over some steps, and has them logged.

    Args:
        every: so many steps.
        total: the last step, which is logged too.
        log: takes the step and the averages.
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
    """Says when so many seconds are over."""

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
    """A global step: (batch, this worker's wishes) -> (metrics, all workers' wishes added up)."""
    strategy = distribution.strategy
    names: list[str] = []

    def one(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        metrics = step(batch)
        names[:] = metrics
        return tf.stack(list(metrics.values())), tf.identity(wishes)

    @tf.function
    def run(batch: Batch, wishes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One vector each, not a number at a time: between machines every sum is a journey.
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

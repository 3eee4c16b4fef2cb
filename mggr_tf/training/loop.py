"""The loop around a step: batches, checkpoints, logs. Resumes where it stopped."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from mggr_edge.errors import RunError
from mggr_tf.training.preemption import held_back_signals
from mggr_tf.training.step import Metrics, Step

_LOG_EVERY = 25
_FEWEST_LOGS = 20
"""Of a short training every step or two is logged: a curve has more than one point."""
_CHECKPOINT_SECONDS = 60.0
_LONGEST_REASON = 300
_UNREADABLE = (ValueError, AssertionError, IndexError, RuntimeError, tf.errors.OpError)
"""What TensorFlow says of a checkpoint that is damaged, cut short or of other networks."""
_LEAST_TIMED_STEPS = 12
_MOST_TIMED_STEPS = 1000
_TIMING_SECONDS = 20.0
"""Large networks are timed on fewer steps, so that timing does not eat their budget."""

Log = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Hooks:
    """What the loop tells the outside.

    Attributes:
        advance: n more steps are done.
        log: metrics, averaged since the last call.
        saved: a checkpoint at this step is on disk.
        sheet: time for a sample sheet at this step.
        sheet_steps: the steps after which `sheet` is called.
        bad_batch: keeps what a step saw whose loss is no number; returns where.
    """

    advance: Callable[[int], None]
    log: Log
    saved: Callable[[int], None]
    sheet: Callable[[int], None]
    sheet_steps: frozenset[int]
    bad_batch: Callable[[int, dict[str, tf.Tensor]], str]


class Loop:
    """Runs a step over batches under a distribution strategy.

    Args:
        step: what to run.
        strategy: how it is spread over devices.
        batches: gives the batches of steps [first, last), one iterator.
        folder: where checkpoints go.
        warn: told of a checkpoint that is passed over.
    """

    def __init__(
        self,
        step: Step,
        *,
        strategy: tf.distribute.Strategy,
        batches: Callable[[int, int], Iterator[dict[str, tf.Tensor]]],
        folder: str,
        warn: Callable[[str], None],
    ) -> None:
        self._strategy, self._warn = strategy, warn
        self._batches = batches
        self._at = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        state = step.state()
        self._variables = [v for thing in state.values() for v in thing.variables]
        self._checkpoint = tf.train.Checkpoint(step=self._at, **state)
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=2)

        @tf.function
        def run(batch: dict[str, tf.Tensor]) -> Metrics:
            parts = strategy.run(step, args=(batch,))
            return {
                name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                for name, value in parts.items()
            }

        self._run = run

    def restore(self) -> int:
        """Loads the newest checkpoint that is whole; returns the step it was made at, or 0.

        Raises:
            RunError: there are some, and none can be read, or they belong to other networks.
        """
        failure: RunError | None = None
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
            except _UNREADABLE as error:
                reason = " ".join(str(error).split())[:_LONGEST_REASON]
                if failure is None:
                    failure = RunError(f"{path}: the checkpoint cannot be restored: {reason}")
                self._warn(f"{path} is damaged and passed over: {reason}")
                continue
            return int(self._at)
        if failure is not None:
            raise failure
        return 0

    def seconds_per_step(self, patience: float) -> float:
        """Times steps after tracing, for about `patience` seconds; puts every variable back.

        Twelve steps at least, within 20 seconds. Short steps are many in that time: a
        second in which the machine was busy elsewhere does not decide a whole stage.
        """
        before = [(v, tf.identity(v)) for v in self._variables]
        batches = self._batches(0, 2 + _MOST_TIMED_STEPS)
        for _ in range(2):
            float(self._run(next(batches))["loss"])
        times: list[float] = []
        try:
            with held_back_signals() as look:
                while len(times) < _MOST_TIMED_STEPS and (
                    sum(times) < patience
                    or (len(times) < _LEAST_TIMED_STEPS and sum(times) < _TIMING_SECONDS)
                ):
                    started = time.perf_counter()
                    float(self._run(next(batches))["loss"])
                    times.append(time.perf_counter() - started)
                    look()
        finally:
            for variable, value in before:
                variable.assign(value)
        # The median: a moment in which the machine was busy elsewhere is not the rule.
        return statistics.median(times)

    def train(self, total: int, hooks: Hooks) -> None:
        """Trains from where it stands to step `total`.

        Ctrl-C and SIGTERM save a checkpoint, between two steps, before they go on their way.

        Raises:
            RunError: the loss is no longer a number; nothing after the last
                checkpoint is kept but the batch that it happened on.
            KeyboardInterrupt: Ctrl-C; `Preempted` for SIGTERM.
        """
        saved_at = time.perf_counter()
        sums: dict[str, float] = {}
        count = 0
        first = int(self._at)
        log_every = max(1, min(_LOG_EVERY, total // _FEWEST_LOGS))
        try:
            with held_back_signals() as look:
                for batch in self._batches(first, total):
                    metrics = self._run(batch)
                    done = int(self._at.assign_add(1))
                    count += 1
                    values = {name: float(value) for name, value in metrics.items()}
                    if bad := _not_finite(values):
                        raise _diverged(done, bad, hooks.bad_batch(done, batch))
                    sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
                    hooks.advance(1)
                    if done % log_every == 0 or done == total:
                        hooks.log(done, {name: value / count for name, value in sums.items()})
                        sums, count = {}, 0
                    if done in hooks.sheet_steps:
                        hooks.sheet(done)
                    if done == total or time.perf_counter() - saved_at > _CHECKPOINT_SECONDS:
                        self._save(hooks)
                        saved_at = time.perf_counter()
                    look()
        except KeyboardInterrupt:
            self._save(hooks)
            raise

    def _save(self, hooks: Hooks) -> None:
        done = int(self._at)
        self._manager.save(checkpoint_number=done)
        hooks.saved(done)


def _not_finite(values: dict[str, float]) -> list[str]:
    return [name for name, value in values.items() if not abs(value) < float("inf")]


def _diverged(step: int, bad: list[str], kept: str) -> RunError:
    return RunError(
        f"step {step}: {', '.join(bad)} is no longer a number; lower the stage's "
        f"learning_rate and go on with --resume. What the step saw is in {kept}"
    )

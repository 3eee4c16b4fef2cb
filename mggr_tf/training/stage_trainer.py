"""One stage of one run: its loop, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import tensorflow as tf

from mggr_edge.common.atomic import atomic_file
from mggr_edge.errors import RunError
from mggr_tf.config.stages import Stage
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.schema import EyeSamples
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.runs.folder import RunFolder, StageRecord, weights_of_stage
from mggr_tf.training.distribution import Distribution
from mggr_tf.training.loop import Loop, Values
from mggr_tf.training.patience import Patience
from mggr_tf.training.portrait_batches import with_portraits
from mggr_tf.training.stage_parts import (
    plainly_failing,
    portrait_shares,
    stage_dataset,
    stage_shares,
    stage_step,
)
from mggr_tf.training.stage_watch import StageWatch
from mggr_tf.training.step import Step
from mggr_tf.training.trained_parts import learning_rates

Say = Callable[[str], None]

_RESERVE = 0.97
"""Part of a time budget that goes into steps; the rest is sheets and checkpoints."""
_TIMING_SHARE = 0.02
"""Part of a time budget that finds out what a step takes."""


@dataclass(frozen=True)
class Budget:
    """How long to train; both None means the config's steps.

    Attributes:
        steps: for each stage that is trained.
        minutes: for all of them together, shared as the config says.
    """

    steps: int | None = None
    minutes: float | None = None


class StageTrainer:
    """Trains one stage; with several workers all of them do, and the chief writes.

    Args:
        run: where everything goes.
        stage: which.
        networks: of the run, with the weights of earlier stages.
        distribution: the devices.
        samples: to train on.
        closing: eyes that close, for a stage that learns the state of eyes.
        portraits: photographs to train on as well, as `portraits_of_stage` gives them.
        say: tells the user what was chosen.
    """

    def __init__(
        self,
        run: RunFolder,
        stage: Stage,
        networks: Networks,
        *,
        distribution: Distribution,
        samples: EyeSamples | PackedSamples,
        closing: EyeSamples | None = None,
        portraits: EyeSamples | None = None,
        say: Say,
    ) -> None:
        self._closing = closing
        self._run, self._stage, self._networks = run, stage, networks
        self._distribution, self._samples, self._say = distribution, samples, say
        self._portraits, self._config = portraits, run.config.stage(stage)
        self._patience = Patience(self._config.validation.patience)
        with distribution.strategy.scope():
            self._total = tf.Variable(1, dtype=tf.int64, trainable=False, name="total_steps")
            self._step = self._make_step()
        self.loop = Loop(
            self._step,
            stage=stage,
            distribution=distribution,
            batches=self._batches,
            folder=run.checkpoint_folder(stage),
            config=run.config.checkpoints,
            seed=run.config.seed,
            patience=self._patience,
            xla=run.config.compute.xla,
            warn=say,
        )

    def train(self, budget: Budget, watch: StageWatch) -> None:
        """Trains from the newest checkpoint, or from the start, to the end of its budget."""
        run, stage = self._run, self._stage
        started = time.perf_counter()
        done = self.loop.restore(changes=len(run.record.changes))
        record = run.record.stages.get(stage)
        if done == 0 and record is not None and record.done:
            raise RunError(
                f"{run.checkpoint_folder(stage)} is gone, and with it {record.done} steps of "
                f"{stage}; put it back, or make a new run"
            )
        if record is None or (done == 0 and budget != Budget()):
            record = StageRecord(steps=self._steps(budget, started), minutes=budget.minutes)
        self._total.assign(record.steps)
        self._note(record)
        self._say(_announcement(stage, record, done))

        def saved(step: int) -> None:
            spent = record.seconds + time.perf_counter() - started
            self._note(replace(record, done=step, seconds=round(spent, 1)))

        def rates() -> Values:
            return learning_rates(self._step)

        with watch.hooks(record.steps, done=done, saved=saved, rates=rates) as hooks:
            ended_early = self.loop.train(record.steps, hooks)
        if ended_early:
            self._say(_early_end(stage, self._patience, record.steps))
        self._keep_weights()
        self._note(replace(run.record.stages[stage], complete=True))

    def _note(self, record: StageRecord) -> None:
        self._run.update_stage(self._stage, record, write=self._distribution.is_chief)

    def _make_step(self) -> Step:
        landmarks = self._run.config.asks_for_landmarks(self._stage)
        return stage_step(
            self._run.config,
            self._stage,
            self._networks,
            total=self._total,
            replicas=self._distribution.replicas,
            landmarks=self._samples.known_landmarks().shape[1] if landmarks else 0,
        )

    def _batches(self, first: int, last: int) -> Iterator[dict[str, tf.Tensor]]:
        """Global batches of steps [first, last): pure functions of (seed, step)."""
        replicas = self._distribution.replicas

        def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
            config, stage, steps = self._run.config, self._stage, (first, last)
            local = replicas // context.num_input_pipelines
            ours = {"first": context.input_pipeline_id * local, "local": local}
            shares = stage_shares(config, stage, replicas=replicas, **ours)
            pairs = stage_dataset(
                config, stage, self._samples, shares=shares, steps=steps, closing=self._closing
            )
            if self._portraits is None:
                return pairs
            more = portrait_shares(config, stage, replicas=replicas, **ours)
            return with_portraits(pairs, config, stage, self._portraits, shares=more, steps=steps)

        batches = self._distribution.strategy.distribute_datasets_from_function(dataset)
        return plainly_failing(iter(batches), self._samples)

    def _steps(self, budget: Budget, started: float) -> int:
        if budget.minutes is None:
            return budget.steps or self._config.steps
        each = self.loop.seconds_per_step(_TIMING_SHARE * 60 * budget.minutes)
        left = 60 * budget.minutes - (time.perf_counter() - started)
        return round(self._distribution.agreed(max(1, int(_RESERVE * left / each))))

    def _keep_weights(self) -> None:
        for name in weights_of_stage(self._run.config, self._stage):
            of_redirector = name in self._run.config.models.parts
            networks = self._networks
            network = networks.averaged.part(name) if of_redirector else getattr(networks, name)
            if self._distribution.is_chief:
                with atomic_file(self._run.weights_file(name), force=True) as temporary:
                    save_weights(network, temporary)
            else:
                network.get_weights()  # some are read from all workers: all of them must ask
            if of_redirector:
                # The next stage starts from what this one is judged by.
                networks.redirection.part(name).set_weights(network.get_weights())


def _announcement(stage: Stage, record: StageRecord, done: int) -> str:
    budget = "" if record.minutes is None else f" ({record.minutes:.1f} minutes)"
    resumed = f", from step {done}" if done else ""
    return f"{stage}: {record.steps} steps{budget}{resumed}"


def _early_end(stage: Stage, patience: Patience, steps: int) -> str:
    return (
        f"{stage}: ended before step {steps}, as validation finds nothing better; "
        f"kept is step {patience.best_step}"
    )

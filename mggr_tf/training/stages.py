"""Train the stages of a run, in the order of the recipe in the config.

With several workers (processes), worker 0 is the chief. A patch is a small image of one eye.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import tensorflow as tf

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.progress import no_progress, progress
from mggr_edge.errors import RunError
from mggr_tf.config.stages import Stage
from mggr_tf.data.closing_eyes import ClosingEyes, closing_eyes, closing_people
from mggr_tf.data.names import SYNTHETIC, SYNTHETIC_LICENCE
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import Split
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.runs.folder import RunFolder, weights_of_stage
from mggr_tf.runs.record import Origin, StageRecord
from mggr_tf.training.distribution import Distribution, open_distribution
from mggr_tf.training.loop import Loop, Values
from mggr_tf.training.portrait_batches import portraits_of_stage, with_portraits
from mggr_tf.training.stage_parts import (
    check_devices,
    check_shares,
    explained_corruption,
    learning_rates,
    portrait_shares,
    stage_dataset,
    stage_shares,
    stage_step,
)
from mggr_tf.training.stage_watch import StageWatch
from mggr_tf.training.step import Step
from mggr_tf.training.stopping import Budget, Patience, minutes_of_each

Say = Callable[[str], None]

_RESERVE = 0.97
"""Fraction of a time budget for training steps. The rest is for sample sheets and checkpoints."""
_TIMING_SHARE = 0.02
"""Fraction of a time budget for measuring the duration of a step."""


class StageTrainer:
    """Trains one stage. With several workers, all workers train, but only the chief writes files.

    Args:
        run: run to write to.
        stage: stage to train.
        networks: networks of the run, with the weights of earlier stages.
        distribution: devices to train on.
        samples: training samples.
        closing: samples of open to closed eyes, for a stage that learns the eye state.
        portraits: additional training photographs, from `portraits_of_stage`.
        notify: called with messages for the user, for example about the number of steps.
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
        notify: Say,
    ) -> None:
        self._closing = closing
        self._run, self._stage, self._networks = run, stage, networks
        self._distribution, self._samples, self._notify = distribution, samples, notify
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
            warn=notify,
        )

    def train(self, budget: Budget, watch: StageWatch) -> None:
        """Train until the end of the budget. If checkpoints exist, continue from the newest one.

        Args:
            budget: steps or minutes for this stage.
            watch: logging, sample sheets and validation of the stage.

        Raises:
            RunError: according to the record of the run, the stage has completed steps, but there
                is no checkpoint.
        """
        run, stage = self._run, self._stage
        started = time.perf_counter()
        done = self.loop.restore(changes=len(run.record.changes))
        record = run.record.stages.get(stage)
        if done == 0 and record is not None and record.done:
            raise RunError(
                f"{run.checkpoint_folder(stage)} has no checkpoint, but {record.done} steps of "
                f"stage {stage} are recorded; restore the folder, or create a new run",
                code="checkpoints-missing",
                path=run.checkpoint_folder(stage),
                stage=stage,
                steps=record.done,
            )
        if record is None or (done == 0 and budget != Budget()):
            record = StageRecord(steps=self._steps(budget, started), minutes=budget.minutes)
        self._total.assign(record.steps)
        self._note(record)
        self._notify(_announcement(stage, record, done))

        def saved(step: int) -> None:
            spent = record.seconds + time.perf_counter() - started
            self._note(replace(record, done=step, seconds=round(spent, 1)))

        def rates() -> Values:
            return learning_rates(self._step)

        with watch.hooks(record.steps, done=done, saved=saved, rates=rates) as hooks:
            ended_early = self.loop.train(record.steps, hooks)
        if ended_early:
            self._notify(_early_end(stage, self._patience, record.steps))
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
        """Yield the batches of the steps [first, last). They depend only on seed and step."""
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
        return explained_corruption(iter(batches), self._samples)

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
                # All workers must call this method, because reading some variables is a collective
                # operation.
                network.get_weights()
            if of_redirector:
                # The next stage starts from the averaged weights. Validations also use these
                # weights.
                networks.redirection.part(name).set_weights(network.get_weights())


def _announcement(stage: Stage, record: StageRecord, done: int) -> str:
    budget = "" if record.minutes is None else f" ({record.minutes:.1f} minutes)"
    resumed = f", from step {done}" if done else ""
    return f"{stage}: {record.steps} steps{budget}{resumed}"


def _early_end(stage: Stage, patience: Patience, steps: int) -> str:
    return (
        f"{stage}: stopped early, before step {steps}; using the weights of step "
        f"{patience.best_step}, which have the best validation metric"
    )


_SHOWN = 4096
"""Number of training patches for sample sheets and validation if no subjects are held out.

This number applies only to packed data, which is not completely in memory.
"""


def stages_to_train(run: RunFolder, stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that must be trained, in order. `stage` is the last one.

    Complete stages are not included.
    """
    return tuple(s for s in (*run.config.needed(stage), stage) if not run.is_complete(s))


def train_stages(
    run: RunFolder,
    stage: Stage,
    *,
    samples: EyeSamples | PackedSamples,
    held_out: EyeSamples | None,
    portraits: Split | None = None,
    budget: Budget,
    stream: TextIO | None,
    notify: Say,
    distribution: Distribution | None = None,
) -> None:
    """Train a stage. If the stage needs other stages that are not complete, train them first.

    Args:
        run: run to write to. An incomplete stage is resumed.
        stage: last stage to train.
        samples: training samples.
        held_out: samples for validation and sample sheets. `None` uses training samples.
        portraits: photographs with known gaze. They are used in stages whose config has settings
            for photographs. With `None`, these stages are trained without photographs. The stage
            `adapted` cannot be trained without photographs.
        budget: steps or minutes.
        stream: stream for the progress line, usually `sys.stderr`. `None` shows no progress.
        notify: called with messages for the user, for example about the number of steps.
        distribution: devices to train on. `None` uses the devices of this machine.

    Raises:
        RunError: the stage `adapted` needs photographs, but there are none. Or training fails.
        ConfigError: the devices do not support a setting of the config.
    """
    todo = stages_to_train(run, stage)
    if not todo:
        notify(f"{run.path}: stage {stage} is complete; nothing to do")
        return
    if len(todo) > 1:
        notify(
            f"{run.path}: stage {stage} needs {', '.join(todo[:-1])}; training these stages first"
        )
    distribution = distribution or open_distribution()
    check_shares(run.config, todo, replicas=distribution.replicas)
    run.config.refuse_untrainable(todo, has_estimator=run.has_weights("estimator"))
    if portraits is None and "adapted" in todo:
        raise RunError(
            f"{run.path}: stage adapted needs photographs, but the run has none; add --portraits",
            code="photographs-missing",
            path=run.path,
        )
    check_devices(run.config, todo, replicas=distribution.replicas, warn=notify)
    if held_out is None and any(run.config.stage(s).validation.patience for s in todo):
        notify("no subjects are held out; validation and early stopping use training subjects")
    with distribution.reporting_lost_workers():
        minutes = {} if budget.minutes is None else minutes_of_each(run, stage, budget.minutes)
        with distribution.strategy.scope():
            vgg16 = run.record.vgg16
            networks = Networks(
                run.config,
                vgg16=None if vgg16 is None else Path(vgg16),
                precision=run.config.compute.precision,
            )
            _load_what_is_there(run, networks)
        drawn: ClosingEyes | None = None
        for name in todo:
            closing = None
            if run.config.asks_for_state(name):
                closing = drawn = drawn or _closing_eyes(run, distribution, stream, notify)
            trainer = StageTrainer(
                run,
                name,
                networks,
                distribution=distribution,
                samples=samples,
                closing=None if closing is None else closing.train,
                portraits=_photographs(run, name, portraits, networks, stream),
                notify=notify,
            )
            watch = StageWatch(
                run,
                name,
                networks,
                shown=held_out or _in_memory(samples),
                closing=None if closing is None else closing.held_out,
                portraits=None if portraits is None else portraits.held_out,
                distribution=distribution,
                stream=stream if distribution.is_chief else None,
            )
            trainer.train(Budget(budget.steps, minutes.get(name)), watch)
            networks.forget_adversary()


def _photographs(
    run: RunFolder,
    stage: Stage,
    portraits: Split | None,
    networks: Networks,
    stream: TextIO | None,
) -> EyeSamples | None:
    if portraits is None:
        return None
    return portraits_of_stage(
        run.config,
        stage,
        _in_memory(portraits.train),
        networks,
        progress=no_progress if stream is None else progress,
    )


def _closing_eyes(
    run: RunFolder, distribution: Distribution, stream: TextIO | None, notify: Say
) -> ClosingEyes:
    """Render open to closed eyes for a stage that learns the eye state.

    The function also adds these eyes to the training data in the record of the run.
    """
    how = run.config.synthetic
    people, _ = closing_people(how)
    run.note_origins(
        [Origin(run.path.resolve().name, SYNTHETIC, SYNTHETIC_LICENCE, people)],
        write=distribution.is_chief,
    )
    notify(f"rendering closing eyes of {how.closing_subjects} people for the loss 'state'")
    return closing_eyes(how, progress=no_progress if stream is None else progress)


def _in_memory(samples: EyeSamples | PackedSamples) -> EyeSamples:
    return samples.preview(_SHOWN) if isinstance(samples, PackedSamples) else samples


def _load_what_is_there(run: RunFolder, networks: Networks) -> None:
    if run.has_weights("estimator"):
        load_weights(networks.estimator, run.weights_file("estimator"))
    for name in run.config.models.parts:
        trained = networks.redirection.part(name)
        if run.has_weights(name):
            load_weights(trained, run.weights_file(name))
        networks.averaged.part(name).set_weights(trained.get_weights())

"""Trains the stages of a run in the paper's order, inside a run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mggr_edge.atomic import atomic_file
from mggr_edge.progress import Progress
from mggr_tf.config import Stage
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.redirect_pairs import pair_inputs
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.training.loop import Hooks, Loop
from mggr_tf.training.run_folder import RunFolder, StageRecord, weights_of_stage
from mggr_tf.training.sheets import sheet, write_png
from mggr_tf.training.stage_parts import stage_dataset, stage_shares, stage_step
from mggr_tf.training.step import Step

Say = Callable[[str], None]

_SHEETS_A_STAGE = 5
_SHEET_PAIRS = 8
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


def stages_to_train(run: RunFolder, stage: Stage) -> tuple[Stage, ...]:
    """The stage and those before it that the run lacks, in order."""
    return tuple(s for s in (*run.config.needed(stage), stage) if not run.is_complete(s))


def train_stages(
    run: RunFolder,
    stage: Stage,
    *,
    samples: EyeSamples,
    held_out: EyeSamples | None,
    budget: Budget,
    progress: Progress,
    say: Say,
) -> None:
    """Trains a stage, and first those that it needs and the run lacks.

    Args:
        run: where everything goes; stages in progress are resumed.
        stage: the last one to train.
        samples: to train on.
        held_out: for sample sheets; None shows training eyes.
        budget: how long.
        progress: shows how far it is.
        say: tells the user what was chosen.
    """
    strategy = local_strategy()
    todo = stages_to_train(run, stage)
    if not todo:
        say(f"{run.path}: stage {stage} is complete; nothing to do")
        return
    if len(todo) > 1:
        say(f"{run.path}: stage {stage} needs {', '.join(todo[:-1])} first; training them in order")
    shares = {s: run.config.stage(s).share for s in _budgeted(run, stage, todo)}
    with strategy.scope():
        vgg16 = run.record.vgg16
        networks = Networks(run.config, vgg16=None if vgg16 is None else Path(vgg16))
        _load_what_is_there(run, networks)
    for name in todo:
        part = shares[name] / sum(shares.values())
        minutes = None if budget.minutes is None else budget.minutes * part
        trainer = _StageTrainer(run, name, networks, strategy=strategy, samples=samples, say=say)
        trainer.train(Budget(budget.steps, minutes), held_out or samples, progress, say)


def _budgeted(run: RunFolder, stage: Stage, todo: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages that share a budget in minutes: a resumed run's complete ones had their part."""
    records = run.record.stages
    had = {name for name, record in records.items() if record.minutes is not None}
    return tuple(s for s in (*run.config.needed(stage), stage) if s in todo or s in had)


def local_strategy() -> tf.distribute.Strategy:
    """All local GPUs together, or the one device there is."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


class _StageTrainer:
    """One stage of one run."""

    def __init__(
        self,
        run: RunFolder,
        stage: Stage,
        networks: Networks,
        *,
        strategy: tf.distribute.Strategy,
        samples: EyeSamples,
        say: Say = print,
    ) -> None:
        self._run, self._stage, self._networks = run, stage, networks
        self._strategy, self._samples = strategy, samples
        self._config = run.config.stage(stage)
        self._landmarks = run.config.asks_for_landmarks(stage)
        with strategy.scope():
            self._total = tf.Variable(1, dtype=tf.int64, trainable=False, name="total_steps")
            self._loop = Loop(
                self._make_step(),
                strategy=strategy,
                batches=self._batches,
                folder=str(run.checkpoint_folder(stage)),
                warn=say,
            )

    def train(self, budget: Budget, shown: EyeSamples, progress: Progress, say: Say) -> None:
        run, stage = self._run, self._stage
        started = time.perf_counter()
        done = self._loop.restore()
        record = run.record.stages.get(stage)
        if record is None or done == 0:
            record = StageRecord(steps=self._steps(budget, started), minutes=budget.minutes)
        self._total.assign(record.steps)
        run.update_stage(stage, record)
        say(_announcement(stage, record, done))
        before = record.seconds

        def saved(step: int) -> None:
            spent = before + time.perf_counter() - started
            run.update_stage(stage, replace(record, done=step, seconds=round(spent, 1)))

        with progress(stage, record.steps) as advance, self._writer() as log:
            advance(done)
            hooks = Hooks(
                advance=advance,
                log=log,
                saved=saved,
                sheet=lambda step: self._sheet(step, shown),
                sheet_steps=_sheet_steps(record.steps, stage),
                bad_batch=self._keep_batch,
            )
            self._loop.train(record.steps, hooks)
        self._keep_weights()
        run.update_stage(stage, replace(run.record.stages[stage], complete=True))

    def _make_step(self) -> Step:
        return stage_step(
            self._run.config,
            self._stage,
            self._networks,
            total=self._total,
            replicas=self._strategy.num_replicas_in_sync,
            landmarks=self._samples.known_landmarks().shape[1] if self._landmarks else 0,
        )

    def _batches(self, first: int, last: int) -> Iterator[dict[str, tf.Tensor]]:
        """Global batches of steps [first, last): pure functions of (seed, step)."""
        replicas = self._strategy.num_replicas_in_sync

        def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
            local = replicas // context.num_input_pipelines
            shares = stage_shares(
                self._run.config,
                self._stage,
                replicas=replicas,
                first=context.input_pipeline_id * local,
                local=local,
            )
            return stage_dataset(
                self._run.config, self._stage, self._samples, shares=shares, steps=(first, last)
            )

        return iter(self._strategy.distribute_datasets_from_function(dataset))

    def _steps(self, budget: Budget, started: float) -> int:
        if budget.minutes is None:
            return budget.steps or self._config.steps
        each = self._loop.seconds_per_step(_TIMING_SHARE * 60 * budget.minutes)
        left = 60 * budget.minutes - (time.perf_counter() - started)
        return max(1, int(_RESERVE * left / each))

    def _writer(self) -> Any:
        return _MetricsWriter(self._run, self._stage)

    def _keep_batch(self, step: int, batch: dict[str, Any]) -> str:
        """Of several replicas the first one's part."""
        first = {k: self._strategy.experimental_local_results(v)[0] for k, v in batch.items()}
        file = self._run.bad_batch_file(self._stage, step)
        with atomic_file(file, force=True) as temporary:
            np.savez_compressed(temporary, **{k: np.asarray(v) for k, v in first.items()})
        return str(file)

    def _sheet(self, step: int, shown: EyeSamples) -> None:
        pairs = all_pairs(shown, limit=_SHEET_PAIRS, seed=self._run.config.seed)
        inputs = pair_inputs(shown, pairs, self._run.config.conventions)
        made = {k: np.asarray(v) for k, v in self._networks.averaged.joined(inputs).items()}
        picture = sheet(
            source=inputs["eye"],
            coarse=made["coarse"],
            residual=made["residual"],
            redirected=made["redirected"],
            target=shown.images[pairs[:, 1]].astype(np.float32) / 127.5 - 1,
        )
        write_png(self._run.sheet_file(self._stage, step), picture)

    def _keep_weights(self) -> None:
        for name in weights_of_stage(self._run.config, self._stage):
            of_redirector = name in self._run.config.models.parts
            networks = self._networks
            network = networks.averaged.part(name) if of_redirector else getattr(networks, name)
            with atomic_file(self._run.weights_file(name), force=True) as temporary:
                save_weights(network, temporary)
            if of_redirector:
                # The next stage starts from what this one is judged by.
                networks.redirection.part(name).set_weights(network.get_weights())


class _MetricsWriter:
    """CSV and TensorBoard, one call."""

    def __init__(self, run: RunFolder, stage: Stage) -> None:
        self._run, self._stage = run, stage
        self._events = tf.summary.create_file_writer(str(run.log_folder(stage)))

    def __enter__(self) -> Callable[[int, dict[str, float]], None]:
        return self._log

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def _log(self, step: int, metrics: dict[str, float]) -> None:
        self._run.log(self._stage, step, metrics)
        with self._events.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)


def _load_what_is_there(run: RunFolder, networks: Networks) -> None:
    if run.has_weights("estimator"):
        load_weights(networks.estimator, run.weights_file("estimator"))
    for name in run.config.models.parts:
        trained = networks.redirection.part(name)
        if run.has_weights(name):
            load_weights(trained, run.weights_file(name))
        networks.averaged.part(name).set_weights(trained.get_weights())


def _announcement(stage: Stage, record: StageRecord, done: int) -> str:
    budget = "" if record.minutes is None else f" ({record.minutes:.1f} minutes)"
    resumed = f", from step {done}" if done else ""
    return f"{stage}: {record.steps} steps{budget}{resumed}"


def _sheet_steps(total: int, stage: Stage) -> frozenset[int]:
    if stage in ("estimator", "judge"):
        return frozenset()
    return frozenset(max(1, round(total * i / _SHEETS_A_STAGE)) for i in range(1, 6))

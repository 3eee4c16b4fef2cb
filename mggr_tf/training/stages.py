"""Trains the stages of a run in the paper's order, inside a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from mggr_edge.common.progress import no_progress, progress
from mggr_edge.errors import RunError
from mggr_tf.config.stages import Stage
from mggr_tf.data.closing_eyes import ClosingEyes, closing_eyes, closing_people
from mggr_tf.data.drawn_people import SYNTHETIC, SYNTHETIC_LICENCE
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import Split
from mggr_tf.models.networks import Networks, load_weights
from mggr_tf.runs.folder import Origin, RunFolder
from mggr_tf.training.compiling import refuse_what_cannot_work
from mggr_tf.training.distribution import Distribution, open_distribution
from mggr_tf.training.portrait_batches import portraits_of_stage
from mggr_tf.training.shared_minutes import minutes_of_each
from mggr_tf.training.stage_parts import check_shares
from mggr_tf.training.stage_trainer import Budget, Say, StageTrainer
from mggr_tf.training.stage_watch import StageWatch

__all__ = ["Budget", "stages_to_train", "train_stages"]


_SHOWN = 4096
"""Patches of a pack that are shown on sheets, where nobody is held out."""


def stages_to_train(run: RunFolder, stage: Stage) -> tuple[Stage, ...]:
    """The stage and those before it that the run lacks, in order."""
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
    say: Say,
    distribution: Distribution | None = None,
) -> None:
    """Trains a stage, and first those that it needs and the run lacks.

    Args:
        run: where everything goes; stages in progress are resumed.
        stage: the last one to train.
        samples: to train on.
        held_out: for validation and sample sheets; None takes training eyes.
        portraits: photographs of people whose gaze is known, for stages whose config trains on
            some; None trains those without, and refuses the stage `adapted`.
        budget: how long.
        stream: where a line shows how far it is, as a rule `sys.stderr`; None: nowhere.
        say: tells the user what was chosen.
        distribution: the devices; None takes what there are on this machine.
    """
    todo = stages_to_train(run, stage)
    if not todo:
        say(f"{run.path}: stage {stage} is complete; nothing to do")
        return
    if len(todo) > 1:
        say(f"{run.path}: stage {stage} needs {', '.join(todo[:-1])} first; training them in order")
    distribution = distribution or open_distribution()
    check_shares(run.config, todo, replicas=distribution.replicas)
    run.config.refuse_untrainable(todo, has_estimator=run.has_weights("estimator"))
    if portraits is None and "adapted" in todo:
        raise RunError(f"{run.path}: stage adapted needs photographs, and the run has none")
    refuse_what_cannot_work(run.config, todo, replicas=distribution.replicas, warn=say)
    if held_out is None and any(run.config.stage(s).validation.patience for s in todo):
        say("nobody is held out: validation, which may end a stage, asks people it trains on")
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
                closing = drawn = drawn or _closing_eyes(run, distribution, stream, say)
            trainer = StageTrainer(
                run,
                name,
                networks,
                distribution=distribution,
                samples=samples,
                closing=None if closing is None else closing.train,
                portraits=_photographs(run, name, portraits, networks, stream),
                say=say,
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
    run: RunFolder, distribution: Distribution, stream: TextIO | None, say: Say
) -> ClosingEyes:
    """Drawn for a stage that learns the state of eyes, and recorded among the run's data."""
    how = run.config.synthetic
    people, _ = closing_people(how)
    run.note_origin(
        Origin(run.path.resolve().name, SYNTHETIC, SYNTHETIC_LICENCE, people),
        write=distribution.is_chief,
    )
    say(f"drawing eyes of {how.closing_subjects} people that close, for loss state")
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

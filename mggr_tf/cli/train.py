"""Define the command `mggr-tf train`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import force_option, notify, one_budget, subjects_option
from mggr_tf.cli.portraits import (
    check_portraits,
    check_stages,
    followed_portraits,
    new_portraits,
    portraits_options,
    resumed_portraits,
)
from mggr_tf.cli.train_data import check_budget, follow_run, followed_data, opened_data
from mggr_tf.cli.train_session import create_run, plan_run, reopen_run, resumed_data

if TYPE_CHECKING:
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.training.distribution import Distribution, StrategyName
    from mggr_tf.training.stopping import Budget

_CONFIG, _DATA = "mggr-edge", "synthetic"
"""The default config and the default data."""


@click.command()
@click.option(
    "--stage",
    type=click.Choice(["estimator", "judge", "coarse", "fine", "joint", "adapted"]),
    help="Last stage to train. If this stage needs other stages that are not trained yet, they are "
    "trained first. Default: the last stage in the config's `recipe`. Without --portraits, the "
    "default is the last stage before `adapted`.",
)
@click.option(
    "--data",
    show_default=_DATA,
    help="Folder of patches (see docs/data.md), or `synthetic`.",
)
@click.option(
    "--config",
    "config_name",
    show_default=_CONFIG,
    help="Packaged config or .yaml file.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the config; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Run folder. Default: a new folder under runs/.",
)
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
    help="Training budget in minutes, for all stages together.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Number of training steps of each stage.")
@subjects_option
@portraits_options
@click.option(
    "--from",
    "from_run",
    help="Fine-tune the weights of this run, or the packaged weights `default`. If the data "
    "differs from the data of that run, the estimator is fine-tuned first.",
)
@click.option(
    "--vgg16",
    type=click.Path(path_type=Path),
    help="File with VGG-16 weights (.h5, without dense layers). Needed for configs with "
    "`models.features: vgg16`.",
)
@click.option("--resume", is_flag=True, help="Resume the run in --out.")
@click.option(
    "--changed-data",
    is_flag=True,
    help="With --resume: continue although the data or the portraits have changed. Held-out "
    "subjects stay held out.",
)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "one", "mirrored", "multiworker"]),
    default="auto",
    show_default=True,
    help="Select the devices that share each batch. `auto` uses all GPUs of this machine. "
    "`multiworker` uses the processes in TF_CONFIG (see `mggr-tf launch`).",
)
@click.option(
    "--changed-config",
    is_flag=True,
    help="With --resume: continue with the changes of --config and --set, for example with a "
    "lower learning rate. The networks cannot change.",
)
@force_option
def train(
    stage: Stage | None,
    data: str | None,
    config_name: str | None,
    changes: tuple[str, ...],
    out: Path | None,
    minutes: float | None,
    steps: int | None,
    subjects: tuple[str, ...] | None,
    portraits: str | None,
    portraits_split: str | None,
    from_run: str | None,
    vgg16: Path | None,
    resume: bool,
    changed_data: bool,
    changed_config: bool,
    strategy: StrategyName,
    force: bool,
) -> None:
    """Train the stages of a run.

    The config lists the stages in order. With the default config, the stages are estimator, coarse
    and joint. The config mggr-synthetic also has the stage adapted, which needs photographs.

    \b
    Examples:
      mggr-tf train --stage joint
      mggr-tf train --stage joint --data patches/ --minutes 25 --out runs/real
      mggr-tf train --stage judge --data patches/ --subjects 0001-0032 --out runs/judge
      mggr-tf train --stage joint --data patches/ --from default --minutes 10
      mggr-tf train --stage joint --out runs/real --resume
      mggr-tf train --stage joint --out runs/real --resume --changed-data
      mggr-tf train --stage joint --set stages.joint.batch=32 --set seed=2
      mggr-tf train --config mggr-synthetic --portraits eyes/ --portraits-split split.yaml

    On Ctrl-C, SIGTERM or SIGHUP, the training state is saved, and the exit code is 130, 143 or 129.
    --resume continues from the saved state.
    """
    one_budget(steps, minutes)
    check_portraits(portraits, portraits_split, resume=resume)
    if vgg16 is not None and not vgg16.is_file():
        raise UsageError(f"--vgg16 {vgg16}: no such file", code="vgg16-missing", path=vgg16)
    if vgg16 is not None and resume:
        raise UsageError(
            "--vgg16 cannot be combined with --resume, because it would change the run; make a "
            "new run",
            code="vgg16-with-resume",
            path=vgg16,
        )
    if (changed_data or changed_config) and not resume:
        raise UsageError(
            "--changed-data and --changed-config need --resume", code="changes-without-resume"
        )
    if strategy == "multiworker" and out is None:
        raise UsageError(
            "--strategy multiworker needs --out RUN, the run folder that all workers share",
            code="multiworker-without-out",
        )
    from mggr_tf.config.files import load_config
    from mggr_tf.runs.lock import explained_interruption
    from mggr_tf.training.distribution import open_distribution
    from mggr_tf.training.stage_parts import check_shares
    from mggr_tf.training.stages import stages_to_train
    from mggr_tf.training.stopping import Budget

    # Connect the workers first. After the first TensorFlow operation, they cannot connect.
    distribution = open_distribution(strategy, notify=notify)
    with ExitStack() as held:
        if not distribution.is_chief:
            assert out is not None
            run = follow_run(out, distribution)
            photographed = followed_portraits(run, portraits)
            stage = stage or run.config.last_stage(portraits=photographed is not None)
            split = followed_data(run, stage, data)
        elif resume:
            run, change = reopen_run(
                out, config_name, changes, may_differ=changed_config, held=held
            )
            has_portraits = portraits is not None or run.record.portraits is not None
            stage = stage or run.config.last_stage(portraits=has_portraits)
            todo = stages_to_train(run, stage)
            check_stages(run.config, todo, portraits=has_portraits)
            check_budget(run, stage, steps=steps, minutes=minutes)
            split = resumed_data(run, stage, data, subjects=subjects, may_differ=changed_data)
            photographed = resumed_portraits(
                run, todo, portraits, portraits_split, data=split, may_differ=changed_data
            )
            if change:
                with explained_interruption(run, stage):
                    run.note_config(run.config, change=change)
        else:
            plan = plan_run(
                load_config(config_name or _CONFIG, changes=changes),
                out,
                from_run=from_run,
                vgg16=vgg16,
                force=force,
                held=held,
            )
            stage = stage or plan.config.last_stage(portraits=portraits is not None)
            stages = (*plan.config.needed(stage), stage)
            check_stages(plan.config, stages, portraits=portraits is not None)
            donated = plan.donor is not None and plan.donor.has_weights("estimator")
            plan.config.refuse_untrainable(stages, has_estimator=donated)
            check_shares(plan.config, stages, replicas=distribution.replicas)
            split = opened_data(
                data or _DATA, plan.out, config=plan.config, stage=stage, subjects=subjects
            )
            photographed = new_portraits(portraits, portraits_split, config=plan.config, data=split)
            run = create_run(plan, split, photographed, stage=stage, held=held)
        if distribution.is_chief:
            with distribution.reporting_lost_workers():
                distribution.agreed(1.0)  # from now on, the other workers can open the run
        budget = Budget(steps=steps, minutes=minutes)
        _train(run, stage, split, photographed, budget=budget, distribution=distribution)
    if distribution.is_chief:
        click.echo(run.path)


def _train(
    run: RunFolder,
    stage: Stage,
    split: Split,
    portraits: Split | None,
    *,
    budget: Budget,
    distribution: Distribution,
) -> None:
    from mggr_tf.runs.lock import explained_interruption, resume_command
    from mggr_tf.training.distribution import INTERRUPTED, Preempted, SecondSignal
    from mggr_tf.training.stages import train_stages

    try:
        with explained_interruption(run, stage):
            train_stages(
                run,
                stage,
                samples=split.train,
                held_out=split.held_out,
                portraits=portraits,
                budget=budget,
                stream=sys.stderr,
                notify=notify,
                distribution=distribution,
            )
    except KeyboardInterrupt as stopped:
        saved = "the newest checkpoint" if isinstance(stopped, SecondSignal) else "all progress"
        if distribution.is_chief:
            notify(f"\ninterrupted; {saved} is saved. Resume with: {resume_command(run, stage)}")
        code = stopped.code if isinstance(stopped, Preempted) else INTERRUPTED
        raise SystemExit(code) from None
    notify(f"{run.path}: stage {stage} is complete")

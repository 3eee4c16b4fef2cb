"""`mggr-tf train`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.errors import MggrError, UsageError
from mggr_tf.cli.options import check_is_free, force_option, one_budget, say, subjects_option

if TYPE_CHECKING:
    from mggr_tf.config import Config, Stage
    from mggr_tf.data.source import Split
    from mggr_tf.training.run_folder import RunFolder


@click.command()
@click.option(
    "--stage",
    type=click.Choice(["estimator", "judge", "coarse", "fine", "joint"]),
    help="Last stage to train; stages that it needs and the run lacks come first. "
    "Default: the last of the config's recipe.",
)
@click.option(
    "--data",
    default="synthetic",
    show_default=True,
    help="A folder of patches (see docs/data.md), or `synthetic`.",
)
@click.option(
    "--config",
    "config_name",
    default="mggr-edge",
    show_default=True,
    help="A packaged config or a .yaml file.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the config.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default under runs/.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget, all stages.")
@click.option("--steps", type=click.IntRange(min=1), help="Budget of each stage.")
@subjects_option
@click.option(
    "--from",
    "from_run",
    help="Go on from another run's weights (fine-tuning), or from this package's: `default`. On "
    "other data than they saw the estimator goes on first.",
)
@click.option(
    "--vgg16",
    type=click.Path(path_type=Path),
    help="VGG-16 weights (.h5, no dense layers), for configs whose losses compare its features.",
)
@click.option("--resume", is_flag=True, help="Go on with the run named by --out.")
@force_option
def train(
    stage: Stage | None,
    data: str,
    config_name: str,
    changes: tuple[str, ...],
    out: Path | None,
    minutes: float | None,
    steps: int | None,
    subjects: tuple[str, ...] | None,
    from_run: str | None,
    vgg16: Path | None,
    resume: bool,
    force: bool,
) -> None:
    """Train the stages of a run, the estimator first, then coarse, then jointly.

    \b
    Examples:
      mggr-tf train --stage joint
      mggr-tf train --stage joint --data patches/ --minutes 25 --out runs/real
      mggr-tf train --stage judge --data patches/ --subjects 0001-0032 --out runs/judge
      mggr-tf train --stage joint --data patches/ --from default --minutes 10
      mggr-tf train --stage joint --out runs/real --resume
      mggr-tf train --stage joint --set stages.joint.batch=32 --set seed=2

    Ctrl-C and SIGTERM keep what was trained, and --resume goes on from there. The exit code is
    then 130, or 143.
    """
    one_budget(steps, minutes)
    from mggr_edge.progress import progress
    from mggr_tf.config_files import load_config
    from mggr_tf.data.source import open_split
    from mggr_tf.training.preemption import INTERRUPTED, PREEMPTED, Preempted
    from mggr_tf.training.run_folder import DEFAULT_ROOT, free_name
    from mggr_tf.training.stages import Budget, train_stages

    if vgg16 is not None and not vgg16.is_file():
        raise UsageError(f"--vgg16 {vgg16}: no such file")
    if resume:
        if vgg16 is not None:
            raise UsageError("--vgg16 would change a run that is being resumed; make a new one")
        run, data, subjects = _resumed(out, data, subjects, changes)
        config = run.config
    else:
        config = load_config(config_name, changes=changes)
        if out is None:
            out = free_name(DEFAULT_ROOT, config.name)
        check_is_free(out, force=force)
    stage = stage or config.recipe[-1]
    config.stage(stage)  # a config may lack it
    say(f"data: {data}; config: {config.name}; run: {out}")
    split = open_split(
        data, config=config, stage=stage, subjects=subjects, progress=progress, say=say
    )
    say(f"{len(split.train)} patches of {len(split.train.subjects)} subjects")
    if not resume:
        assert out is not None
        run = _created(out, config, split, from_run=from_run, stage=stage, vgg16=vgg16)
    try:
        train_stages(
            run,
            stage,
            samples=split.train,
            held_out=split.held_out,
            budget=Budget(steps=steps, minutes=minutes),
            progress=progress,
            say=say,
        )
    except KeyboardInterrupt as stopped:
        again = f"mggr-tf train --stage {stage} --out {run.path} --resume"
        say(f"\ninterrupted; what was trained is kept. Go on with: {again}")
        code = PREEMPTED if isinstance(stopped, Preempted) else INTERRUPTED
        raise SystemExit(code) from None
    say(f"{run.path}: stage {stage} is complete")
    click.echo(run.path)


def _of_people(donor: RunFolder, split: Split) -> tuple[Stage, ...]:
    """Stages that go on, too: on other data the estimator gets to know its people.

    The redirector aims by it, and a device asks it where they look.
    """
    return () if split.source == donor.record.data.source else ("estimator",)


def _say_if_known(config: Config, donor: RunFolder, split: Split) -> None:
    both_drawn = split.source == donor.record.data.source == "synthetic"
    if both_drawn and config.synthetic.seed == donor.config.synthetic.seed:
        seed = config.synthetic.seed + 1
        say(
            "the drawn people are those that these weights learned from, the held-out ones too; "
            f"others come with --set synthetic.seed={seed}"
        )


def _resumed(
    out: Path | None, data: str, subjects: tuple[str, ...] | None, changes: tuple[str, ...]
) -> tuple[RunFolder, str, tuple[str, ...] | None]:
    from mggr_tf.training.run_folder import RunFolder

    if out is None:
        raise UsageError("--resume needs --out RUN, the run to go on with")
    if changes:
        raise UsageError("--set would change a run that is being resumed; make a new one --from it")
    run = RunFolder.open(out)
    known = run.record.data
    if data not in ("synthetic", known.source) and str(Path(data).resolve()) != known.source:
        raise UsageError(f"{out} was trained on {known.source}, not on {data}; make a new run")
    if subjects is not None and set(subjects) != set(known.subjects):
        raise UsageError(f"{out} was trained on other subjects; make a new run")
    # Exactly the recorded subjects again, whatever the folder has gained since;
    # without held-out ones they were named on the command line.
    return run, known.source, None if known.held_out else known.subjects


def _created(
    out: Path,
    config: Config,
    split: Split,
    *,
    from_run: str | None,
    stage: Stage,
    vgg16: Path | None,
) -> RunFolder:
    from mggr_tf.training.default_run import open_run
    from mggr_tf.training.run_folder import DataRecord, RunFolder

    if (vgg16 is not None) != (config.models.features == "vgg16"):
        raise UsageError(
            f"config {config.name} compares features of {config.models.features}; "
            "--vgg16 FILE and `models.features: vgg16` go together"
        )
    donor = open_run(from_run) if from_run is not None else None
    if out.exists():
        if not (out / "run.json").is_file():
            raise UsageError(f"{out} is no run; --force replaces runs only")
        shutil.rmtree(out)
    try:
        run = RunFolder.create(out, config, DataRecord.of(split), vgg16=vgg16)
        if donor is not None:
            run.adopt(donor, stage=stage, train_on=_of_people(donor, split))
            _say_if_known(config, donor, split)
    except MggrError:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return run

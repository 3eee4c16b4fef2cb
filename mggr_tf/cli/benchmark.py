"""Define the commands `mggr-tf benchmark` and `mggr-tf bench-train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mggr_edge.common.cli_group import FiniteRange
from mggr_edge.errors import UsageError
from mggr_tf.cli.options import FileToWrite, SubjectList, check_is_free, force_option, notify

if TYPE_CHECKING:
    from mggr_tf.config.stages import Stage
    from mggr_tf.evaluation.source_gaze import SourceGaze

_INTERRUPTED = 130


@click.command()
@click.option("--data", required=True, help="Folder of patches, or `synthetic`.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to create, or folder of a started benchmark. The folder contains the runs and "
    "the results.",
)
@click.option(
    "--train",
    type=SubjectList(),
    help="Subjects to train on. Default: the parts `train` and `select` of --split.",
)
@click.option(
    "--report", type=SubjectList(), help="Subjects to score. Default: the part `report` of --split."
)
@click.option(
    "--split",
    default="columbia",
    show_default=True,
    help="Name of a packaged split, or .yaml file. Train on its parts `train` and `select`, and "
    "score its part `report`.",
)
@click.option(
    "--minutes",
    default=100.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Training budget of each method, in minutes, for all its stages together.",
)
@click.option(
    "--ablation-minutes",
    default=20.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Training budget in minutes for methods at their published size, and for the complete "
    "MGGR in the group of ablations. Each ablation is trained for the same number of steps as the "
    "complete MGGR.",
)
@click.option(
    "--judge-steps",
    default=5000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of training steps of each judge, a gaze estimator that is used only for scores.",
)
@click.option(
    "--folds",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of judges. With 2 or more, the reported subjects are divided among the judges. "
    "Each judge is then also trained on the reported subjects that it does not score.",
)
@click.option(
    "--pairs",
    default=2000,
    show_default=True,
    type=click.IntRange(min=10),
    help="Maximum number of scored pairs.",
)
@click.option(
    "--seed", default=1, show_default=True, type=int, help="Seed for training the methods."
)
@click.option(
    "--only",
    help="Run only these trainings or groups of trainings (names, separated by commas). Examples: "
    "mggr,deepwarp and method,ablation. Default: all trainings.",
)
@click.option(
    "--show",
    help="Eyes to show in the pictures: a folder of patches, or `synthetic`. Default: the "
    "reported subjects of --data.",
)
@click.option(
    "--source",
    type=click.Choice(["estimated", "labelled"]),
    help="Source gaze of the redirections: the estimate of the trained estimator, as on a device, "
    "or the label.  [default: both, with one row each]",
)
def benchmark(
    data: str,
    out: Path,
    train: tuple[str, ...] | None,
    report: tuple[str, ...] | None,
    split: str,
    minutes: float,
    ablation_minutes: float,
    judge_steps: int,
    folds: int,
    pairs: int,
    seed: int,
    only: str | None,
    show: str | None,
    source: SourceGaze | None,
) -> None:
    """Train all methods with equal budgets, score them, and write a report.

    \b
    Examples:
      mggr-tf benchmark --data patches/ --minutes 100 --out bench
      mggr-tf benchmark --data patches/ --minutes 100 --out bench --only method
      mggr-tf benchmark --data patches/ --minutes 100 --out bench-2 --seed 2 --only mggr

    \b
    There are four groups of trainings:
      method          MGGR, DeepWarp and PRGAN, with similar sizes and equal time
      equal-steps     DeepWarp and PRGAN, with as many steps as MGGR
      published-size  DeepWarp and PRGAN, at their published sizes
      ablation        MGGR, and versions of MGGR that each lack one component

    The command writes benchmark.md, benchmark.html, benchmark.json and pictures. To continue after
    an interruption, or to add trainings with another --only, run the command again. Existing
    trainings and scores are kept.

    DeepWarp and PRGAN have no gaze estimator, and therefore no row with estimated source gazes.

    The pictures show the reported subjects. If the licence of the data does not permit publication,
    use `--show synthetic` to show synthetic eyes instead.
    """
    from mggr_edge.common.progress import progress
    from mggr_tf.benchmark.benchmark import run_benchmark
    from mggr_tf.benchmark.plan import Plan, chosen
    from mggr_tf.evaluation.source_gaze import SOURCES

    entrants = chosen(None if only is None else [name.strip() for name in only.split(",")])
    trained_on, scored_on = _subjects(split, train, report)
    try:
        wanted = Plan(
            data=data if data == "synthetic" else str(Path(data).resolve()),
            train=trained_on,
            report=scored_on,
            minutes=minutes,
            ablation_minutes=ablation_minutes,
            judge_steps=judge_steps,
            folds=folds,
            pairs=pairs,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(
            str(error), code="benchmark-plan-invalid", reason=str(error), folds=folds
        ) from error
    try:
        run_benchmark(
            out,
            wanted,
            entrants,
            progress=progress,
            notify=notify,
            show=show,
            sources=SOURCES if source is None else (source,),
        )
    except KeyboardInterrupt:
        notify("\ninterrupted; results so far are saved. Run the same command again to continue")
        raise SystemExit(_INTERRUPTED) from None
    click.echo(out / "benchmark.md")


def _subjects(
    split: str, train: tuple[str, ...] | None, report: tuple[str, ...] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from mggr_tf.data.subject_split import read_split

    if train is not None and report is not None:
        return train, report
    parts = read_split(split)
    return train or (*parts.train, *parts.select), report or parts.report


@click.command()
@click.option(
    "--config",
    "config_name",
    default="mggr-edge",
    show_default=True,
    help="Packaged config or .yaml file.",
)
@click.option(
    "--stage",
    type=click.Choice(["estimator", "judge", "coarse", "fine", "joint"]),
    default="joint",
    show_default=True,
    help="Training stage to measure.",
)
@click.option(
    "--data",
    default="synthetic",
    show_default=True,
    help="Folder of patches (see docs/data.md), or `synthetic`.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the config; may be repeated.",
)
@click.option(
    "--seconds",
    default=60.0,
    show_default=True,
    type=FiniteRange(min=0),
    help="Total duration of the measurements, in seconds. At least 20 rounds are measured.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Also print the time of a step for each kind of op and each part of the network.",
)
@click.option(
    "--json", "json_file", type=FileToWrite(), help="Also write the results as JSON to this file."
)
@click.option(
    "--vgg16",
    type=click.Path(path_type=Path),
    help="File with VGG-16 weights (.h5, without dense layers). Needed for configs with "
    "`models.features: vgg16`.",
)
@force_option
def bench_train(
    config_name: str,
    stage: Stage,
    data: str,
    changes: tuple[str, ...],
    seconds: float,
    profile: bool,
    json_file: Path | None,
    vgg16: Path | None,
    force: bool,
) -> None:
    """Measure the speed of batch preparation, training steps, and convolutions.

    \b
    Examples:
      mggr-tf bench-train
      mggr-tf bench-train --data patches/ --seconds 120 --profile
      mggr-tf bench-train --config prgan-edge --json speed.json
      mggr-tf bench-train --set models.features_precision=float32

    The command measures four durations: preparing a batch, a step that is repeated on one batch, a
    step on a new batch as in training, and only the convolutions of a step (forward and backward).

    One round measures all four durations, one after another in the same process. Therefore the
    ratios of the durations are also valid on a machine that runs other programs. The command saves
    no weights.
    """
    if json_file is not None:
        check_is_free(json_file, force=force)
    if vgg16 is not None and not vgg16.is_file():
        raise UsageError(f"--vgg16 {vgg16}: no such file", code="vgg16-missing", path=vgg16)
    from mggr_edge.common.atomic import atomic_file
    from mggr_edge.common.progress import progress
    from mggr_tf.benchmark.speed_report import profile_text, speed_text
    from mggr_tf.benchmark.training_speed import bench_training
    from mggr_tf.config.files import load_config
    from mggr_tf.data.source import open_split

    config = load_config(config_name, changes=changes)
    config.stage(stage)  # raises an error if the config has no stage with this name
    split = open_split(
        data, config=config, stage=stage, subjects=None, progress=progress, notify=notify
    )
    found = bench_training(config, stage, split, seconds=seconds, progress=progress, vgg16=vgg16)
    click.echo(speed_text(found))
    if profile:
        click.echo("\n" + profile_text(found))
    if json_file is not None:
        with atomic_file(json_file, force=force) as temporary:
            temporary.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")

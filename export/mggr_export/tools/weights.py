"""Trains and exports the package's weights: `python -m mggr_export.tools.weights`.

::

    OUT/
      run/      the training, which can be resumed
      judge/    other architecture on other synthetic people; for scores, not used as a loss
      made/     files for the package: run/, float/, int8/, MODEL_CARD.md
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from mggr_edge.common.atomic import atomic_folder
from mggr_edge.common.cli_group import FiniteRange, OneLineError
from mggr_edge.common.progress import progress
from mggr_edge.errors import MggrError, RunError, UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import packaged_bundles
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.request import ExportRequest
from mggr_export.tools.weights_measures import measure, model_card
from mggr_tf.config import Config
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import Stage
from mggr_tf.data.portraits import open_portraits
from mggr_tf.data.source import SYNTHETIC, Split, open_split
from mggr_tf.data.subject_split import read_split
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run, packaged_run
from mggr_tf.runs.provenance import note_data
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.stage_parts import warm_start
from mggr_tf.training.stages import Budget, train_stages

Say = Callable[[str], None]

CONFIG = "mggr-synthetic"
CARD = "MODEL_CARD.md"

_KEPT = ("estimator", "coarse", "fine", "adapted")
_JUDGE_SEED = 9_000
"""Seed of the judge's synthetic people.

None of them is in the training data of the redirector.
"""
_BUNDLES = {"float": False, "int8": True}


def make_weights(
    out: Path,
    *,
    minutes: float,
    people: int | None,
    portraits: Path | None = None,
    portraits_split: str | None = None,
    start: RunFolder | None = None,
    notify: Say,
) -> Path:
    """Create all missing parts in `out`.

    Args:
        out: Output folder; it is created if it does not exist.
        minutes: Training time of all stages of the run together, in minutes. An existing run
            keeps its own training time.
        people: Number of synthetic people; None uses the number in the config.
        portraits: Folder of photographed eyes with known gaze; None trains on synthetic eyes
            only.
        portraits_split: Split file of the people in `portraits`; None holds out the fraction in
            the config.
        start: Run whose estimator and redirector the training starts from; None trains from
            scratch.
        notify: Callback for messages to the user.

    Returns:
        Folder for `put_into_package`.

    Raises:
        UsageError: If `out` holds a training with another config.
        RunError: If `out` holds a training on other portraits, or if the networks of `start` do
            not fit.
    """
    changes = [] if people is None else [f"synthetic.subjects={people}"]
    config = load_config(CONFIG, changes=changes)
    photographed = None
    if portraits is not None:
        split = None if portraits_split is None else read_split(portraits_split)
        photographed = open_portraits(
            str(portraits), config=config, split=split, progress=progress, notify=notify
        )
    last = config.last_stage(portraits=photographed is not None)
    run = _trained(
        out / "run",
        config,
        last,
        Budget(minutes=minutes),
        portraits=photographed,
        start=start,
        notify=notify,
    )
    other = replace(config, synthetic=replace(config.synthetic, seed=_JUDGE_SEED))
    judge = _trained(out / "judge", other, "judge", Budget(), notify=notify)
    made = out / "made"
    with atomic_folder(made, force=True) as folder:
        lay_out(run, folder, notify=notify)
        found = measure(folder, judge=judge, progress=progress, notify=notify)
        contracts = {name: Bundle.open(folder / name).contract for name in _BUNDLES}
        (folder / CARD).write_text(model_card(run, found, contracts), encoding="utf-8")
    return made


def lay_out(run: RunFolder, folder: Path, *, notify: Say) -> None:
    """Write the lean run and both lean bundles into a folder."""
    _copy_lean(run, folder / "run")
    for name, int8 in _BUNDLES.items():
        notify(f"exporting {name}")
        export_run(
            run,
            folder / name,
            ExportRequest(precision="int8" if int8 else "float32", lean=True),
            progress=progress,
            notify=notify,
        )


def put_into_package(made: Path, *, notify: Say) -> None:
    """Replace the weights of this installation.

    Each of the two folders in the package is replaced as a whole.
    """
    parts: dict[Path, dict[str, str]] = {
        packaged_bundles(): {name: name for name in _BUNDLES},
        packaged_run(): {"run": "."},
    }
    for home, sources in parts.items():
        home.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(home, force=True) as folder:
            for source, place in sources.items():
                shutil.copytree(made / source, folder / place, dirs_exist_ok=True)
            shutil.copyfile(made / CARD, folder / CARD)
        notify(f"installed {home}")


def _trained(
    path: Path,
    config: Config,
    stage: Stage,
    budget: Budget,
    *,
    portraits: Split | None = None,
    start: RunFolder | None = None,
    notify: Say,
) -> RunFolder:
    """Return a run that is complete up to a stage: an existing, resumed or new run."""
    run = RunFolder.open(path) if (path / "run.json").is_file() else None
    if run is not None and run.config != _settled_as(run.config, config):
        raise UsageError(
            f"{path} contains a run with another config; pass another --out, or remove {path}",
            code="run-with-other-config",
            path=path,
        )
    if run is not None and run.is_complete(stage):
        notify(f"{path}: stage {stage} is complete")
        return run
    split = open_split(
        SYNTHETIC, config=config, stage=stage, subjects=None, progress=progress, notify=notify
    )
    if run is None:
        record = None if portraits is None else DataRecord.of(portraits)
        run = RunFolder.create(path, config, DataRecord.of(split), portraits=record)
        try:
            if start is not None:
                warm_start(run, start)
        except RunError:
            shutil.rmtree(path)
            raise
    elif portraits is not None:
        note_data(run, portraits, may_differ=False, portraits=True, notify=notify)
    _train(run, stage, split, portraits, budget, notify=notify)
    return run


def _settled_as(begun: Config, config: Config) -> Config:
    """Return the config with the feature precision of an existing run.

    When the run was created, it replaced `auto` by the precision that suits its machine.
    """
    if config.models.features_precision != "auto":
        return config
    precision = begun.models.features_precision
    return replace(config, models=replace(config.models, features_precision=precision))


def _train(
    run: RunFolder,
    stage: Stage,
    split: Split,
    portraits: Split | None,
    budget: Budget,
    *,
    notify: Say,
) -> None:
    train_stages(
        run,
        stage,
        samples=split.train,
        held_out=split.held_out,
        portraits=portraits,
        budget=budget,
        stream=sys.stderr,
        notify=notify,
    )


def _copy_lean(run: RunFolder, folder: Path) -> None:
    """Copy the files that later training or scoring requires.

    Checkpoints, logs and sheets are not copied.
    """
    (folder / "weights").mkdir(parents=True)
    for name in ("run.json", "config.yaml"):
        shutil.copyfile(run.path / name, folder / name)
    for name in _KEPT:
        if run.has_weights(name):
            shutil.copyfile(run.weights_file(name), folder / "weights" / f"{name}.npz")


# Set before TensorFlow is loaded, to suppress its messages about features of the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_INTERRUPTED = 130


@click.command()
@click.option(
    "--out",
    default="runs/default-weights",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the training; the same command resumes an interrupted training.",
)
@click.option(
    "--minutes",
    default=150.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Training time of the estimator and the redirector in minutes; drawing, scoring and "
    "export take about twenty more minutes. A resumed training keeps its own time.",
)
@click.option(
    "--people",
    type=click.IntRange(min=2),
    help="Number of synthetic people.  [default: that of the config]",
)
@click.option(
    "--portraits",
    type=click.Path(path_type=Path),
    help="Folder of photographed eyes with known gaze (`mggr-tf data crop --gaze`), for the stage "
    "adapted. Without it, all training data is synthetic.",
)
@click.option("--portraits-split", metavar="FILE", help="Split file of the people in --portraits.")
@click.option(
    "--from",
    "start",
    metavar="RUN",
    help="Start from the networks of this run; `default` is the run of this installation. "
    "Without it, train from scratch.",
)
@click.option(
    "--install/--no-install",
    default=True,
    show_default=True,
    help="Replace the weights of this installation with the result.",
)
def main(
    out: Path,
    minutes: float,
    people: int | None,
    portraits: Path | None,
    portraits_split: str | None,
    start: str | None,
    install: bool,
) -> None:
    """Train the default weights, measure them, and put them into the package.

    Without --portraits, all training data is synthetic. After Ctrl-C, the training so far is
    kept.
    """
    try:
        made = make_weights(
            out,
            minutes=minutes,
            people=people,
            portraits=portraits,
            portraits_split=portraits_split,
            start=None if start is None else open_run(start),
            notify=_notify,
        )
        click.echo((made / "MODEL_CARD.md").read_text(encoding="utf-8"))
        if install:
            put_into_package(made, notify=_notify)
    except MggrError as error:
        raise OneLineError(error) from error
    except KeyboardInterrupt:
        _notify("\ninterrupted; the training so far is kept, run the same command to continue")
        raise SystemExit(_INTERRUPTED) from None


def _notify(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()

"""Makes the weights that come with the package: `python -m mggr_export.tools.weights`.

::

    OUT/
      run/      the training, resumable
      judge/    another architecture on other drawn people: it scores, and is no loss
      made/     what goes into the package: run/, float/, int8/, MODEL_CARD.md
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
"""The judge's people: nobody of those that the redirector is trained on."""
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
    """Goes on with whatever is missing in `out`.

    Args:
        out: the folder; made if it is not there.
        minutes: of training, all stages of the run together; a run that was begun keeps its own.
        people: how many are drawn; None takes the config's.
        portraits: folder of photographed eyes whose gaze is known; None trains on drawn eyes alone.
        portraits_split: split file of the people in it; None holds out the config's share.
        start: run whose estimator and redirector the training starts from; None starts from
            nothing.

    Returns:
        the folder that `put_into_package` takes.

    Raises:
        UsageError: `out` holds a training of other people.
        RunError: `out` holds a training on other portraits, or the networks of `start` do not
            fit.
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
    """The lean run and both lean bundles, in a folder of their own."""
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
    """Replaces the weights of this installation, each home as a whole."""
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
    """A run that is complete up to a stage: found, resumed or made."""
    run = RunFolder.open(path) if (path / "run.json").is_file() else None
    if run is not None and run.config != _settled_as(run.config, config):
        raise UsageError(f"{path} was begun with another config; name another --out, or remove it")
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
    """The config with the precision that a run of it found best on its machine."""
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
    """What a later training or scoring needs: no checkpoints, logs or sheets."""
    (folder / "weights").mkdir(parents=True)
    for name in ("run.json", "config.yaml"):
        shutil.copyfile(run.path / name, folder / name)
    for name in _KEPT:
        if run.has_weights(name):
            shutil.copyfile(run.weights_file(name), folder / "weights" / f"{name}.npz")


# Before TensorFlow is loaded: its notes of what this processor could do are nobody's business.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_INTERRUPTED = 130


@click.command()
@click.option(
    "--out",
    default="runs/default-weights",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the training is kept; the same command goes on with it.",
)
@click.option(
    "--minutes",
    default=150.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Of training the estimator and the redirector; drawing, judging and exporting add "
    "about twenty. A training that was begun keeps its own.",
)
@click.option("--people", type=click.IntRange(min=2), help="Drawn people; default: the config's.")
@click.option(
    "--portraits",
    type=click.Path(path_type=Path),
    help="Folder of photographed eyes whose gaze is known (`mggr-tf data crop --gaze`), for the "
    "stage adapted. Default: train on drawn eyes alone.",
)
@click.option("--portraits-split", metavar="FILE", help="Split file of the people in it.")
@click.option(
    "--from",
    "start",
    metavar="RUN",
    help="Run whose networks the training starts from, or `default`: those of this installation. "
    "Default: from nothing.",
)
@click.option("--install/--no-install", default=True, help="Put the result into the package.")
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

    Without --portraits everything is drawn. Ctrl-C keeps what was trained.
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
        raise OneLineError(str(error)) from error
    except KeyboardInterrupt:
        _notify("\ninterrupted; what was trained is kept, and the same command goes on with it")
        raise SystemExit(_INTERRUPTED) from None


def _notify(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()

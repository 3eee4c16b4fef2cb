"""Train and export the package's weights: `python -m mggr_export.tools.weights`.

::

    OUT/
      run/      training run of the weights; it can be resumed
      judge/    gaze estimator that only scores the results; it is not used as a loss
      made/     files for the package: run/, float/, int8/, MODEL_CARD.md

The judge has another architecture than the run's estimator. The judge is trained on other synthetic
people.
"""

from __future__ import annotations

import json
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
from mggr_edge.models.contract import Contract
from mggr_edge.models.installed import packaged_bundles
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.request import ExportRequest
from mggr_export.formats.model_format import FileFormat
from mggr_export.tools.weights_measures import measure, model_card, with_files_of
from mggr_tf.config import Config
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import Stage
from mggr_tf.data.portraits import open_portraits
from mggr_tf.data.source import SYNTHETIC, Split, open_split
from mggr_tf.data.subject_split import read_split
from mggr_tf.runs.adoption import warm_start
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run, packaged_run
from mggr_tf.runs.provenance import note_data
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.stages import train_stages
from mggr_tf.training.stopping import Budget

Say = Callable[[str], None]

CONFIG = "mggr-synthetic"
CARD = "MODEL_CARD.md"

_KEPT = ("estimator", "coarse", "fine", "adapted")
_JUDGE_SEED = 9_000
"""Seed of the judge's synthetic people.

These people are not in the training data of the redirector.
"""
FORMATS: tuple[FileFormat, ...] = ("tflite", "onnx")
"""Formats of the packaged bundles.

A device prefers TFLite. TensorRT needs ONNX, and OpenCV runs only ONNX.
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
    """Create all parts that are missing in `out`.

    Args:
        out: Output folder. The folder is created if it does not exist.
        minutes: Training time of all stages of the run together, in minutes. If `out` contains a
            run, this run keeps its own training time.
        people: Number of synthetic people. `None` uses the number in the config.
        portraits: Folder of photographed eyes with known gaze. With `None`, the networks are
            trained on synthetic eyes only.
        portraits_split: File that divides the people in `portraits` into training and held-out
            people. With `None`, a fraction of the people is held out. The config defines this
            fraction.
        start: The training starts from the estimator and the redirector of this run. With `None`,
            the training starts from scratch.
        notify: Callback for messages to the user.

    Returns:
        Folder for `put_into_package`.

    Raises:
        UsageError: If `out` contains a run with another config.
        RunError: If `out` contains a run that was trained on other portraits. Also raised if the
            networks of `start` do not fit the config.
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
        (folder / CARD).write_text(model_card(run, found, _contracts(folder)), encoding="utf-8")
    return made


def export_again(out: Path, *, notify: Say) -> Path:
    """Export the packaged weights again, without training, and write the result to `out`.

    The scores in the model card do not change, because they belong to the Keras models.

    Returns:
        Folder for `put_into_package`.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = out / "made"
    with atomic_folder(made, force=True) as folder:
        lay_out(open_run("default"), folder, notify=notify)
        card = (packaged_run() / CARD).read_text(encoding="utf-8")
        (folder / CARD).write_text(with_files_of(card, _contracts(folder)), encoding="utf-8")
    return made


def _contracts(folder: Path) -> dict[str, Contract]:
    return {name: Bundle.open(folder / name).contract for name in _BUNDLES}


def lay_out(run: RunFolder, folder: Path, *, notify: Say) -> None:
    """Write the run and both bundles to a folder. Only the files for the package are written."""
    _copy_lean(run, folder / "run")
    for name, int8 in _BUNDLES.items():
        notify(f"exporting {name}")
        export_run(
            run,
            folder / name,
            ExportRequest(precision="int8" if int8 else "float32", formats=FORMATS, lean=True),
            progress=progress,
            notify=notify,
        )


def put_into_package(made: Path, *, notify: Say) -> None:
    """Replace the weights of this installation.

    The package has two folders of weights. Each folder is replaced completely.
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
    """Return a run that is complete up to a stage.

    An existing run is returned or resumed. If there is no run, a new run is trained.
    """
    run = RunFolder.open(path) if (path / "run.json").is_file() else None
    if run is not None and run.config != _settled_as(run.config, config):
        raise UsageError(
            f"{path} contains a run with another config; pass another --out or remove {path}",
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

    A new run replaces the value `auto` by the precision that is suitable for the machine.
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

    Checkpoints, logs and sample pictures are not copied. A folder of photographs is recorded by its
    name, because its path exists only on the machine of the training.
    """
    (folder / "weights").mkdir(parents=True)
    shutil.copyfile(run.path / "config.yaml", folder / "config.yaml")
    record = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    if run.record.portraits is not None:
        record["portraits"]["source"] = run.record.portraits.name
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (folder / "run.json").write_text(text, encoding="utf-8")
    for name in _KEPT:
        if run.has_weights(name):
            shutil.copyfile(run.weights_file(name), folder / "weights" / f"{name}.npz")


# Set this variable before TensorFlow is loaded. The variable hides messages about features of the
# processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_INTERRUPTED = 130


@click.command()
@click.option(
    "--out",
    default="runs/default-weights",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the training. To resume an interrupted training, run the same command again.",
)
@click.option(
    "--minutes",
    default=150.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Training time of the estimator and the redirector in minutes. Rendering, scoring and "
    "export take about twenty more minutes. A resumed training keeps its original training time.",
)
@click.option(
    "--people",
    type=click.IntRange(min=2),
    help="Number of synthetic people.  [default: the number in the config]",
)
@click.option(
    "--portraits",
    type=click.Path(path_type=Path),
    help="Folder of photographed eyes with known gaze, for the stage 'adapted'. "
    "`mggr-tf data crop --gaze` writes such a folder. Without --portraits, all training data is "
    "synthetic.",
)
@click.option(
    "--portraits-split",
    metavar="FILE",
    help="File that divides the people in --portraits into training and held-out people.",
)
@click.option(
    "--from",
    "start",
    metavar="RUN",
    help="Start from the networks of this run. `default` is the packaged run of mggr-tf. "
    "Without --from, train from scratch.",
)
@click.option(
    "--export-only",
    is_flag=True,
    help="Export the packaged weights again, without training.",
)
@click.option(
    "--install/--no-install",
    default=True,
    show_default=True,
    help="Replace the weights of this installation with the trained weights.",
)
def main(
    out: Path,
    minutes: float,
    people: int | None,
    portraits: Path | None,
    portraits_split: str | None,
    start: str | None,
    export_only: bool,
    install: bool,
) -> None:
    """Train the default weights, measure them, and install them in the package.

    Without --portraits, all training data is synthetic. If you press Ctrl-C, the folder keeps the
    training so far.
    """
    try:
        if export_only:
            made = export_again(out, notify=_notify)
        else:
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
        _notify("\ninterrupted; the training so far is saved, run the same command to continue")
        raise SystemExit(_INTERRUPTED) from None


def _notify(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()

"""The whole way: draw, train, export, redirect, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mggr_edge.bundle import Bundle
from mggr_edge.progress import progress
from mggr_export.export_run import export_run
from mggr_export.quickstart.demo import run_demo
from mggr_export.quickstart.names import BUNDLES, RUN
from mggr_export.quickstart.outcome import Outcome
from mggr_export.quickstart.report import write_report
from mggr_tf.config import Config
from mggr_tf.config_files import load_config
from mggr_tf.data.source import SYNTHETIC, Split, open_split
from mggr_tf.training.run_folder import DataRecord, RunFolder
from mggr_tf.training.stages import Budget, train_stages

Say = Callable[[str], None]

CONFIG = "quickstart"


def travel(folder: Path, *, minutes: float, seed: int, say: Say) -> Outcome:
    """Makes everything in `folder`, the report last.

    Args:
        folder: one that exists is replaced, once there is something to train on.
        minutes: of training.
        seed: of the drawn people, the weights and the batches.
        say: told what was done, a line for each part.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was trained so far is in the folder.
    """
    config = load_config(CONFIG, changes=[f"seed={seed}", f"synthetic.seed={seed}"])
    seconds: dict[str, float] = {}
    with _timed("drawing eyes", seconds):
        split = open_split(
            SYNTHETIC, config=config, stage="joint", subjects=None, progress=progress, say=say
        )
        say(f"drew {len(split.train)} eyes of {len(split.train.subjects)} people")
    with _timed("training", seconds):
        run = _create_run(folder, config, split)
        _train(run, split, minutes=minutes, say=say)
    bundles = {}
    for precision, name in BUNDLES.items():
        with _timed(f"exporting {name}", seconds):
            bundles[precision] = _export(run, folder / name, int8=precision == "int8", say=say)
    with _timed("the portrait", seconds):
        say("redirecting the portrait")
        demo = run_demo(
            folder, redirecting=bundles["int8"], precise=bundles["float32"], progress=progress
        )
    outcome = Outcome(folder, minutes, run, bundles, demo, seconds)
    write_report(outcome)
    return outcome


def _create_run(folder: Path, config: Config, split: Split) -> RunFolder:
    if folder.exists():
        shutil.rmtree(folder)
    return RunFolder.create(folder / RUN, config, DataRecord.of(split))


def _train(run: RunFolder, split: Split, *, minutes: float, say: Say) -> None:
    train_stages(
        run,
        "joint",
        samples=split.train,
        held_out=split.held_out,
        budget=Budget(minutes=minutes),
        progress=progress,
        say=say,
    )


def _export(run: RunFolder, out: Path, *, int8: bool, say: Say) -> Bundle:
    say(f"exporting {out}")
    # Its tables stand in the report; here they would bury everything else.
    export_run(
        run, out, int8=int8, data=None, force=False, progress=progress, say=lambda text: None
    )
    return Bundle.open(out)


@contextmanager
def _timed(part: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started

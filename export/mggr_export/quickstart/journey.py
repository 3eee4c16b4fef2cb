"""Run the parts of a quickstart: render, train, export, redirect, report."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mggr_edge.common.progress import progress
from mggr_edge.errors import BundleError, RunError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import DEFAULT, DEFAULT_INT8
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.request import ExportRequest
from mggr_export.quickstart import BUNDLES, RUN
from mggr_export.quickstart.demo import run_demo, watch_portrait
from mggr_export.quickstart.prose import Outcome
from mggr_export.quickstart.report import write_report
from mggr_tf.config import Config
from mggr_tf.config.conversion_limits import Precision
from mggr_tf.config.files import load_config
from mggr_tf.data.source import SYNTHETIC, Split, open_split
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.stages import train_stages
from mggr_tf.training.stopping import Budget

_PRECISIONS: tuple[Precision, ...] = ("float32", "int8")

Say = Callable[[str], None]

CONFIG = "quickstart"


_FINE_TUNING = ("stages.joint.learning_rate=2.0e-4",)
"""Change of the config for fine-tuning, because trained weights need a low learning rate."""

_PEOPLE = 10_000
"""First seed of the synthetic people.

With this seed and all larger seeds, all people differ from the training people of the package's
weights.
"""


def run_quickstart(
    folder: Path, *, minutes: float, seed: int, from_nothing: bool = False, notify: Say
) -> Outcome:
    """Run all parts of the quickstart. The report is written last.

    Args:
        folder: Output folder. An existing folder is replaced when the training data are complete.
        minutes: Training time in minutes.
        seed: Seed of the synthetic people, the weights and the batches.
        from_nothing: Whether to train every stage from scratch. If false, the package's weights
            are fine-tuned.
        notify: Callback for progress messages.

    Raises:
        RunError: If the package has no weights and `from_nothing` is false.
        KeyboardInterrupt: On Ctrl-C. The folder then contains the training up to that time.
    """
    donor, own = None, None
    if not from_nothing:
        try:
            donor, own = open_run(DEFAULT), Bundle.open(DEFAULT_INT8)
        except (RunError, BundleError) as error:
            raise RunError(
                "this installation has no weights to fine-tune; pass --from-nothing to train from "
                "scratch",
                code="no-packaged-weights",
            ) from error
    people = f"synthetic.seed={_PEOPLE + seed}"
    changes = [f"seed={seed}", people, *(_FINE_TUNING if donor else ())]
    config = load_config(CONFIG, changes=changes)
    config = config if donor is None else config.for_donor(donor.config)
    seconds: dict[str, float] = {}
    with _timed("rendering synthetic eyes", seconds):
        split = open_split(
            SYNTHETIC, config=config, stage="joint", subjects=None, progress=progress, notify=notify
        )
        notify(f"rendered {len(split.train)} eyes of {len(split.train.subjects)} synthetic people")
    with _timed("training", seconds):
        run = _create_run(folder, config, split, donor)
        _train(run, split, minutes=minutes, notify=notify)
    bundles: dict[str, Bundle] = {}
    for precision in _PRECISIONS:
        name = BUNDLES[precision]
        with _timed(f"exporting {name}", seconds):
            bundles[precision] = _export(run, folder / name, precision=precision, notify=notify)
    with _timed("redirecting the portrait", seconds):
        notify("redirecting the portrait")
        demo = run_demo(
            folder, redirecting=bundles["int8"], precise=bundles["float32"], progress=progress
        )
    first = None
    if own is not None:
        with _timed("redirecting the portrait with the package's weights", seconds):
            first = watch_portrait(own, measuring=bundles["float32"])
    outcome = Outcome(folder, minutes, run, bundles, demo, seconds, first)
    write_report(outcome)
    return outcome


def _create_run(folder: Path, config: Config, split: Split, donor: RunFolder | None) -> RunFolder:
    if folder.exists() and any(folder.iterdir()):  # an empty folder is reserved for this process
        shutil.rmtree(folder)
    run = RunFolder.create(folder / RUN, config, DataRecord.of(split))
    if donor is not None:
        adopt(run, donor, stage="joint")
    return run


def _train(run: RunFolder, split: Split, *, minutes: float, notify: Say) -> None:
    train_stages(
        run,
        "joint",
        samples=split.train,
        held_out=split.held_out,
        budget=Budget(minutes=minutes),
        stream=sys.stderr,
        notify=notify,
    )


def _export(run: RunFolder, out: Path, *, precision: Precision, notify: Say) -> Bundle:
    notify(f"exporting {out}")
    # The report contains the tables of the export. These tables are not printed, because they would
    # hide other messages.
    export_run(
        run,
        out,
        ExportRequest(precision),
        progress=progress,
        notify=lambda text: None,
    )
    return Bundle.open(out)


@contextmanager
def _timed(part: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started

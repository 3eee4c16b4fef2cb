"""The run of a worker that is not the chief: made or opened by the chief, seen by all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mggr_edge.errors import RunError
from mggr_tf.cli.opened_data import opened_data

if TYPE_CHECKING:
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.training.distribution import Distribution


def followed(out: Path, distribution: Distribution) -> RunFolder:
    """Waits until the chief has the run open, and opens it, to be read only.

    Args:
        out: its folder, on a file system that all workers share.
        distribution: the workers.

    Raises:
        RunError: it is not there, or the chief is gone.
    """
    from mggr_tf.runs.folder import RunFolder

    with distribution.reporting_lost_workers():
        distribution.agreed(1.0)
    if not out.exists():
        raise RunError(
            f"{out} is not there on worker {distribution.index}: all workers must see the run "
            "folder on one file system"
        )
    return RunFolder.open(out)


def followed_data(run: RunFolder, stage: Stage, data: str | None) -> Split:
    """Opens the data that the chief trains on.

    Raises:
        RunError: it is another one here.
        DataError: it is not here.
    """
    from mggr_tf.runs.drift import data_changes
    from mggr_tf.runs.record import DataRecord

    known = run.record.data
    named = None if known.held_out else known.subjects
    split = opened_data(
        data or known.source,
        run.path,
        config=run.config,
        stage=stage,
        subjects=named,
        held_out=known.held_out,
    )
    if (changes := data_changes(known, DataRecord.of(split))) is not None:
        raise RunError(f"{run.path}: this worker sees other data than the chief: {changes}")
    return split

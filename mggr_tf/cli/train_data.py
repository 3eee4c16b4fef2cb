"""Open the data of `mggr-tf train` and check its budget.

A training can have several processes, which are called workers. The first worker is the chief. The
chief creates the run folder and writes to it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from mggr_edge.errors import RunError, UsageError
from mggr_tf.cli.options import notify

if TYPE_CHECKING:
    from collections.abc import Collection

    from mggr_tf.config import Config
    from mggr_tf.config.stages import Stage
    from mggr_tf.data.source import Split
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.runs.record import StageRecord
    from mggr_tf.training.distribution import Distribution


def opened_data(
    data: str,
    out: Path,
    *,
    config: Config,
    stage: Stage,
    subjects: tuple[str, ...] | None,
    held_out: tuple[str, ...] | None = None,
) -> Split:
    """Open the training data of a run.

    See `mggr_tf.data.source.open_split`.

    Args:
        data: folder of patches, or `synthetic`.
        out: folder of the run. The path is only used in a message.
        config: config of the run.
        stage: last stage to train.
        subjects: subjects to train on. `None` means all subjects that are not held out.
        held_out: subjects to hold out. `None` selects subjects at random.

    Raises:
        ConfigError: the config has no stage with this name.
        DataError: the data has no usable patch.
    """
    from mggr_edge.common.progress import progress
    from mggr_tf.data.source import open_split

    config.stage(stage)
    notify(f"data: {data}; config: {config.name}; run: {out}")
    split = open_split(
        data,
        config=config,
        stage=stage,
        subjects=subjects,
        held_out=held_out,
        progress=progress,
        notify=notify,
    )
    notify(f"{len(split.train)} patches of {len(split.train.subjects)} subjects")
    return split


def follow_run(out: Path, distribution: Distribution) -> RunFolder:
    """Wait until the chief has opened the run, then open it for reading.

    Args:
        out: folder of the run, on a file system that all workers share.
        distribution: connection to the other workers.

    Raises:
        RunError: the folder does not exist on this worker, or the connection to the chief is lost.
    """
    from mggr_tf.runs.folder import RunFolder

    with distribution.reporting_lost_workers():
        distribution.agreed(1.0)
    if not out.exists():
        raise RunError(
            f"{out} does not exist on worker {distribution.index}; put the run folder on a file "
            "system that all workers share",
            code="run-not-on-worker",
            path=out,
            worker=distribution.index,
        )
    return RunFolder.open(out)


def followed_data(run: RunFolder, stage: Stage, data: str | None) -> Split:
    """Open the data of a run on a worker that is not the chief.

    Args:
        run: run that the chief has opened.
        stage: last stage to train.
        data: folder of the data on this worker. `None` means the folder that the run has recorded.

    Raises:
        RunError: the data on this worker differs from the data of the chief.
        DataError: the data is missing.
    """
    from mggr_tf.runs.provenance import data_changes
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
        raise RunError(
            f"{run.path}: the data on this worker differs from the data of the chief (the first "
            f"worker): {changes}",
            code="worker-data-differs",
            path=run.path,
            changes=changes,
        )
    return split


def check_budget(run: RunFolder, stage: Stage, *, steps: int | None, minutes: float | None) -> None:
    """Check that a requested budget fits the stages that are in progress.

    The budget of a stage cannot change after the stage has started.

    Args:
        run: run to resume.
        stage: last stage to train.
        steps: requested number of steps of each stage. `None` means that the user did not set a
            number of steps.
        minutes: requested minutes for all stages together. `None` means that the user did not set a
            number of minutes.

    Raises:
        UsageError: a stage that is in progress was started with another budget.
    """
    from mggr_tf.training.stopping import minutes_of_each

    parts = {} if minutes is None else minutes_of_each(run, stage, minutes)
    option = "--steps" if minutes is None else "--minutes"
    for name in (*run.config.needed(stage), stage):
        record = run.record.stages.get(name)
        if record is None or not _is_half_trained(record):
            continue
        if steps not in (None, record.steps) or not _is_as_long(record, parts.get(name)):
            raise _refused(run, name, record, option)


def check_config_steps(run: RunFolder, changed: Collection[str]) -> None:
    """Check that a changed config keeps the number of steps of stages in progress.

    Args:
        run: run to resume, with the changed config.
        changed: keys of the config whose values have changed since the run was trained.

    Raises:
        UsageError: a stage that is in progress was started with another number of steps.
    """
    for name, asked in run.config.stages.items():
        key, record = f"stages.{name}.steps", run.record.stages.get(name)
        if key not in changed or record is None or not _is_half_trained(record):
            continue
        if asked.steps != record.steps:
            raise _refused(run, name, record, key)


def _is_half_trained(record: StageRecord) -> bool:
    return record.done > 0 and not record.complete


def _is_as_long(record: StageRecord, minutes: float | None) -> bool:
    if minutes is None:
        return True
    return record.minutes is not None and math.isclose(record.minutes, minutes, rel_tol=1e-6)


def _refused(run: RunFolder, stage: Stage, record: StageRecord, option: str) -> UsageError:
    minutes = "" if record.minutes is None else f" ({record.minutes:.4g} minutes)"
    return UsageError(
        f"{run.path}: stage {stage} was started with a budget of {record.steps} steps{minutes}; "
        f"this budget cannot change; omit {option} until {stage} is complete, or make a new run",
        code="stage-budget-fixed",
        path=run.path,
        stage=stage,
        steps=record.steps,
        minutes=record.minutes,
        option=option,
    )

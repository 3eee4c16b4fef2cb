"""The data and the budget of `mggr-tf train`, also for workers that are not the chief."""

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
    """Opens training data for a run at `out`; see `source.open_split`.

    Raises:
        ConfigError: the config has no such stage.
        DataError: nothing usable there.
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
    from mggr_tf.runs.record import DataRecord, data_changes

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


def check_budget(run: RunFolder, stage: Stage, *, steps: int | None, minutes: float | None) -> None:
    """Refuses another budget than a stage in progress was begun with.

    Args:
        run: to be gone on with.
        stage: the last one to train.
        steps: of each stage, where they are asked for.
        minutes: of all stages, where they are asked for.

    Raises:
        UsageError: a stage that is half trained has another one.
    """
    from mggr_tf.training.stages import minutes_of_each

    parts = {} if minutes is None else minutes_of_each(run, stage, minutes)
    option = "--steps" if minutes is None else "--minutes"
    for name in (*run.config.needed(stage), stage):
        record = run.record.stages.get(name)
        if record is None or not _is_half_trained(record):
            continue
        if steps not in (None, record.steps) or not _is_as_long(record, parts.get(name)):
            raise _refused(run, name, record, option)


def check_config_steps(run: RunFolder, changed: Collection[str]) -> None:
    """Refuses a config whose steps differ from those that a stage in progress was begun with.

    Args:
        run: with the config that it is to go on by.
        changed: the keys that differ from what it was trained with.

    Raises:
        UsageError: a stage that is half trained has others.
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
        f"{run.path}: {stage} was begun with a budget of {record.steps} steps{minutes}, and keeps "
        f"it; leave {option} out until {stage} is complete, or make a new run"
    )

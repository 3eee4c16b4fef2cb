"""A stage that was begun keeps its budget, which its learning rates follow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mggr_edge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mggr_tf.config.stages import Stage
    from mggr_tf.runs.folder import RunFolder
    from mggr_tf.runs.record import StageRecord


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
    from mggr_tf.training.shared_minutes import minutes_of_each

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

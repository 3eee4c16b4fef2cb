"""Which runs there are, and how far and how good they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mggr_edge.errors import RunError
from mggr_tf.config.stages import STAGES, Stage
from mggr_tf.runs.folder import RunFolder, StageRecord

_TOLD: dict[Stage, tuple[str, ...]] = {
    "estimator": ("pitch_error_deg", "yaw_error_deg"),
    "judge": ("pitch_error_deg", "yaw_error_deg"),
    "adapted": ("pitch_error_deg", "yaw_error_deg"),
    "coarse": ("l1", "l1_coarse"),
    "fine": ("l1",),
    "joint": ("l1",),
}
"""What describes a stage without validation: what its log holds of these, on the pairs that it
trains on."""

_VALIDATED = ("error_deg", "l1", "l1_coarse")
"""What a stage may be validated by; see `mggr_tf.training.validation`."""


@dataclass(frozen=True)
class ListedRun:
    """A run in a list.

    Attributes:
        path: its folder.
        config: its config's name; None for a run that cannot be read.
        data: what it was trained on.
        stages: a line for each stage: how far it is, and the best that validation found, or
            without it that its log holds.
        problem: why it cannot be read.
    """

    path: Path
    config: str | None
    data: str
    stages: tuple[str, ...]
    problem: str | None = None


def list_runs(root: Path) -> tuple[ListedRun, ...]:
    """The runs under a folder, by name; damaged ones too.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"{root} does not exist; `mggr-tf train` makes runs under runs/")
    return tuple(_listed(file.parent) for file in sorted(root.glob("*/run.json")))


def _listed(path: Path) -> ListedRun:
    try:
        run = RunFolder.open(path)
    except RunError as error:
        return ListedRun(path, None, "", (), str(error))
    data = run.record.data
    people = f"{data.patches} patches of {len(data.subjects)} subjects"
    if (portraits := run.record.portraits) is not None:
        people += f"; portraits of {len(portraits.subjects)} people"
    stages = tuple(
        _in_words(run, stage, run.record.stages[stage])
        for stage in STAGES
        if stage in run.record.stages
    )
    return ListedRun(path, run.config.name, f"{data.source}, {people}", stages)


def _in_words(run: RunFolder, stage: Stage, record: StageRecord) -> str:
    minutes = record.seconds / 60
    if record.complete:
        how = f"{stage}: {record.steps} steps in {minutes:.0f} minutes"
    else:
        how = f"{stage}: {record.done} of {record.steps} steps, {minutes:.0f} minutes, unfinished"
    best = _validated(run, stage) or _logged(run, stage)
    return f"{how}; best {best}" if best else how


def _validated(run: RunFolder, stage: Stage) -> str | None:
    for metric in _VALIDATED:
        found = _numbers(run.validated(stage, metric))
        if found:
            # The first of equal ones, as training takes it.
            step = min(found, key=lambda at: (found[at], at))
            return f"validation {metric} {found[step]:.4g} at step {step}"
    return None


def _logged(run: RunFolder, stage: Stage) -> str:
    return ", ".join(
        f"{metric} {min(logged.values()):.4g}"
        for metric in _TOLD[stage]
        if (logged := _numbers(run.logged(stage, metric)))
    )


def _numbers(values: dict[int, float]) -> dict[int, float]:
    """Without what was no number, which would be the least of all."""
    return {step: value for step, value in values.items() if math.isfinite(value)}

"""Which runs there are, and how far and how good they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mggr_edge.errors import RunError
from mggr_tf.config import STAGES, Stage
from mggr_tf.training.run_folder import RunFolder, StageRecord

_TOLD: dict[Stage, tuple[str, ...]] = {
    "estimator": ("pitch_error_deg", "yaw_error_deg"),
    "judge": ("pitch_error_deg", "yaw_error_deg"),
    "coarse": ("l1", "l1_coarse"),
    "fine": ("l1",),
    "joint": ("l1",),
}
"""What a stage is told by: what its log holds of these, on the pairs that it trains on."""


@dataclass(frozen=True)
class ListedRun:
    """A run in a list.

    Attributes:
        path: its folder.
        config: its config's name; None for a run that cannot be read.
        data: what it was trained on.
        stages: a line for each stage: how far it is, and the best that its log holds.
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
    best = [
        f"{metric} {min(logged.values()):.4g}"
        for metric in _TOLD[stage]
        if (logged := run.logged(stage, metric))
    ]
    return f"{how}; best {', '.join(best)}" if best else how

"""Trains what a plan asks for and is not there yet.

Every training is a process of its own, `mggr-tf train`, so that one that dies
takes nothing with it; a run that was interrupted is resumed, a complete one is left
alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mggr_edge.errors import RunError, UsageError
from mggr_tf.benchmark.plan import BenchmarkEntry, Plan
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import OF_GAZE, Stage
from mggr_tf.data.names import names_text
from mggr_tf.runs.folder import RunFolder

Say = Callable[[str], None]

_INTERRUPTED = 130
"""What `mggr-tf train` ends with when Ctrl-C stopped it."""


def run_path(folder: Path, entrant: BenchmarkEntry) -> Path:
    """Where an entrant's run lies."""
    return folder / "runs" / entrant.name


def judge_path(folder: Path, fold: int) -> Path:
    """Where the run of a fold's judge lies."""
    return folder / "judges" / f"fold{fold + 1}"


def is_trained(path: Path, stage: Stage) -> bool:
    """Whether a run is there and complete up to a stage."""
    return (path / "run.json").is_file() and RunFolder.open(path).is_complete(stage)


def train_entrants(
    folder: Path,
    plan: Plan,
    entrants: Sequence[BenchmarkEntry],
    *,
    field: Sequence[BenchmarkEntry],
    notify: Say,
) -> None:
    """Trains the entrants that are not trained yet, one after another.

    Args:
        folder: the benchmark's.
        plan: their budget and data.
        entrants: whom to train.
        field: all that there are; one may take its steps from another.
        notify: called with the next entrant.

    Raises:
        RunError: a training failed.
        UsageError: an entrant's steps are those of one that is not trained.
    """
    for entrant in entrants:
        recipe = load_config(entrant.config, changes=entrant.changes).redirecting
        path = run_path(folder, entrant)
        if is_trained(path, recipe[-1]):
            continue
        changes = [*entrant.changes, f"seed={plan.seed}"]
        budget = ["--minutes", str(plan.minutes_of(entrant))]
        if entrant.steps_of is not None:
            changes += _as_many_steps(recipe, _pace_of(folder, entrant, field))
            budget = []
        notify(f"\n{entrant.title}:")
        how = ["--config", entrant.config, *(a for c in changes for a in ("--set", c))]
        _train(path, recipe[-1], budget, how=how, data=plan.data, subjects=plan.train)


def train_judges(folder: Path, plan: Plan, *, notify: Say) -> None:
    """Trains the judges that are not trained yet.

    Raises:
        RunError: a training failed.
    """
    for fold in range(plan.folds):
        path = judge_path(folder, fold)
        if is_trained(path, "judge"):
            continue
        notify(f"\njudge {fold + 1} of {plan.folds}:")
        budget = ["--steps", str(plan.judge_steps)]
        subjects = plan.judge_subjects(fold)
        _train(path, "judge", budget, how=[], data=plan.data, subjects=subjects)


def redirection_steps(run: RunFolder) -> int:
    """How many steps a run's redirector was trained for, over all its stages."""
    stages = run.record.stages
    return sum(stages[s].done for s in run.config.recipe if s not in OF_GAZE and s in stages)


def _pace_of(folder: Path, entrant: BenchmarkEntry, field: Sequence[BenchmarkEntry]) -> RunFolder:
    """The complete run whose steps an entrant is given."""
    pace = next(e for e in field if e.name == entrant.steps_of)
    path = run_path(folder, pace)
    config = load_config(pace.config, changes=pace.changes)
    if not is_trained(path, config.last_stage(portraits=False)):
        raise UsageError(f"{entrant.name} takes its steps from {entrant.steps_of}: train it first")
    return RunFolder.open(path)


def _as_many_steps(recipe: Sequence[Stage], pace: RunFolder) -> list[str]:
    """Changes that give a recipe the steps of a run.

    Each stage gets what the run's own had, but for the last: that one gets what is left of
    all the steps of the run's redirector, whatever stages those were made in.
    """
    steps = {s: pace.record.stages[s].done for s in recipe[:-1] if s in pace.record.stages}
    spent = sum(n for stage, n in steps.items() if stage not in OF_GAZE)
    steps[recipe[-1]] = redirection_steps(pace) - spent
    return [f"stages.{stage}.steps={n}" for stage, n in steps.items()]


def _train(
    path: Path,
    stage: Stage,
    budget: list[str],
    *,
    how: list[str],
    data: str,
    subjects: tuple[str, ...],
) -> None:
    """Trains a run to the end of a stage; one that was begun goes on as it was begun."""
    command = [sys.executable, "-m", "mggr_tf", "train", "--stage", stage, "--out", str(path)]
    if (path / "run.json").is_file():
        command += ["--resume", *budget]
    else:
        command += ["--data", data, "--subjects", names_text(subjects), *how, *budget]
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode == _INTERRUPTED:
        raise KeyboardInterrupt
    if ended.returncode != 0:
        raise RunError(
            f"{path}: training ended with exit code {ended.returncode}; what was trained is "
            "kept, run the same command again to go on"
        )

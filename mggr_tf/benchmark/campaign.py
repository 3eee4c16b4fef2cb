"""Train the entrants and judges of a benchmark.

An entrant is one of the trainings that a benchmark compares. A judge is a gaze estimator that only
scores redirected pictures. The reported subjects, which are the subjects to score, are divided into
parts called folds. Each fold has its own judge.

Every training is a separate `mggr-tf train` process. Therefore a crash ends only one training. An
interrupted run is resumed. A complete run is not changed.
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
"""Exit code of `mggr-tf train` after Ctrl-C."""


def run_path(folder: Path, entrant: BenchmarkEntry) -> Path:
    """Return the path of an entrant's run folder."""
    return folder / "runs" / entrant.name


def judge_path(folder: Path, fold: int) -> Path:
    """Return the path of the run folder of a fold's judge.

    `fold` counts from 0.
    """
    return folder / "judges" / f"fold{fold + 1}"


def is_trained(path: Path, stage: Stage) -> bool:
    """Return whether the run exists and its stage is complete."""
    return (path / "run.json").is_file() and RunFolder.open(path).is_complete(stage)


def train_entrants(
    folder: Path,
    plan: Plan,
    entrants: Sequence[BenchmarkEntry],
    *,
    field: Sequence[BenchmarkEntry],
    notify: Say,
) -> None:
    """Train the entrants that are not trained yet, one after another.

    Args:
        folder: folder of the benchmark.
        plan: budget and data of the trainings.
        entrants: entrants to train.
        field: all entrants of the benchmark. Another entrant in this list can define the number of
            steps of an entrant (see `BenchmarkEntry.steps_of`).
        notify: called with the title of each entrant before its training.

    Raises:
        RunError: a training failed.
        UsageError: the number of steps depends on another entrant that is not trained yet.
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
    """Train the judges that are not trained yet.

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
    """Return the number of training steps of a run's redirector.

    The steps of all stages that train the redirector are added.
    """
    stages = run.record.stages
    return sum(stages[s].done for s in run.config.recipe if s not in OF_GAZE and s in stages)


def _pace_of(folder: Path, entrant: BenchmarkEntry, field: Sequence[BenchmarkEntry]) -> RunFolder:
    """Return the run that defines the number of training steps of an entrant.

    This run must be complete.
    """
    pace = next(e for e in field if e.name == entrant.steps_of)
    path = run_path(folder, pace)
    config = load_config(pace.config, changes=pace.changes)
    if not is_trained(path, config.last_stage(portraits=False)):
        raise UsageError(
            f"{entrant.name} gets its number of training steps from the run of {entrant.steps_of}, "
            f"but this run is not complete; train {entrant.steps_of} first",
            code="steps-of-untrained-entrant",
            entrant=entrant.name,
            steps_of=entrant.steps_of,
        )
    return RunFolder.open(path)


def _as_many_steps(recipe: Sequence[Stage], pace: RunFolder) -> list[str]:
    """Return config changes that set the same total number of steps as in another run.

    Every stage has as many steps as the same stage of the other run. The last stage is an
    exception, because it gets all remaining steps. Therefore both redirectors are trained for the
    same total number of steps, even if their stages differ.
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
    """Train a run to the end of a stage.

    If the run already exists, it is resumed with its own config and data.
    """
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
            f"{path}: training ended with exit code {ended.returncode}; the progress is saved; "
            "run the same command again to continue",
            code="benchmark-training-failed",
            path=path,
            exit_code=ended.returncode,
        )

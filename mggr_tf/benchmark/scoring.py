"""Scores the entrants that are trained: every pair's numbers, kept in a file for each.

The reported subjects are cut into folds; each fold's pairs are seen by a judge that was
trained on none of its people. What was scored is not scored again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.atomic import atomic_file
from mggr_edge.errors import RunError
from mggr_edge.progress import Progress
from mggr_tf.benchmark.campaign import judge_path, run_path
from mggr_tf.benchmark.entrants import Entrant
from mggr_tf.benchmark.plan import Plan
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import refuse_seen_subjects, score_pictures
from mggr_tf.evaluation.redirect_pairs import Redirect, redirect_pairs
from mggr_tf.evaluation.score_run import PAIRS_SEED
from mggr_tf.evaluation.scores import PairScores
from mggr_tf.evaluation.trained import load_judge, load_redirector, redirect_with
from mggr_tf.evaluation.yardsticks import REAL, open_yardsticks
from mggr_tf.training.provenance import trained_on, warn_of_unknown_donors
from mggr_tf.training.run_folder import RunFolder

BASELINES = ("copy", "target")
"""Beside the entrants: the source unchanged, and the real picture."""

_NETWORK = "st_vgg"


def scores_file(folder: Path, name: str) -> Path:
    """Where an entrant's numbers lie; `pairs` holds what all have in common."""
    return folder / "scores" / f"{name}.npz"


def score_entrants(
    folder: Path,
    plan: Plan,
    entrants: Sequence[Entrant],
    samples: EyeSamples,
    *,
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    """Scores entrants whose file is missing, all in one pass over the real pictures.

    Args:
        samples: of the reported subjects.
    """
    missing = [e for e in entrants if not scores_file(folder, e.name).is_file()]
    if not missing:
        return
    say("scoring " + ", ".join(e.name for e in missing))
    _refuse_seen(folder, plan, missing, say=say)
    redirects = {e.name: redirect_of(folder, e) for e in missing}
    parts = [
        _score_fold(folder, plan, fold, redirects, samples.of_subjects(people), progress)
        for fold, people in enumerate(plan.report_folds())
    ]
    scores = _joined(parts)
    scores_file(folder, "pairs").parent.mkdir(exist_ok=True)
    _write(
        scores_file(folder, "pairs"),
        subject=scores.subject,
        shift_deg=scores.shift_deg,
        head_yaw_deg=scores.head_yaw_deg,
        features=scores.features[_NETWORK][REAL],
    )
    for name in (*BASELINES, *redirects):
        _write(
            scores_file(folder, name),
            features=scores.features[_NETWORK][name],
            **scores.metrics[name],
        )


def read_scores(folder: Path, names: Sequence[str]) -> PairScores:
    """What was measured of some entrants; the baselines always come with them.

    Raises:
        RunError: a file is missing or damaged.
    """
    common = _read(scores_file(folder, "pairs"))
    everyone = {name: _read(scores_file(folder, name)) for name in (*names, *BASELINES)}
    features = {name: values.pop("features") for name, values in everyone.items()}
    return PairScores(
        subject=common["subject"],
        shift_deg=common["shift_deg"],
        head_yaw_deg=common["head_yaw_deg"],
        metrics=everyone,
        features={_NETWORK: {**features, REAL: common["features"]}},
        absent={},
    )


def redirect_of(folder: Path, entrant: Entrant) -> Redirect:
    """An entrant's redirector.

    Raises:
        RunError: the entrant is not trained.
    """
    return redirect_with(load_redirector(RunFolder.open(run_path(folder, entrant))))


def _refuse_seen(
    folder: Path, plan: Plan, entrants: Sequence[Entrant], *, say: Callable[[str], None]
) -> None:
    """A run in the folder may have been started from another one.

    Raises:
        UsageError: an entrant, or a fold's judge, was trained on people that it is scored on.
    """
    runs = {f"entrant {e.name}": RunFolder.open(run_path(folder, e)) for e in entrants}
    refuse_seen_subjects(plan.report, trained_on(runs))
    warn_of_unknown_donors(runs, say)
    for fold, people in enumerate(plan.report_folds()):
        judge = {f"judge {fold + 1}": RunFolder.open(judge_path(folder, fold))}
        refuse_seen_subjects(people, trained_on(judge))
        warn_of_unknown_donors(judge, say)


def _score_fold(
    folder: Path,
    plan: Plan,
    fold: int,
    redirects: Mapping[str, Redirect],
    samples: EyeSamples,
    progress: Progress,
) -> PairScores:
    run = RunFolder.open(judge_path(folder, fold))
    conventions = run.config.conventions
    pairs = all_pairs(samples, limit=plan.pairs // plan.folds, seed=PAIRS_SEED)
    pictures = {}
    for name, redirect in redirects.items():
        with progress(f"redirecting with {name}", len(pairs)) as advance:
            made = redirect_pairs(
                redirect, samples, pairs, conventions=conventions, advance=advance
            )
        pictures[name] = (made["redirected"] + 1) / 2
    return score_pictures(
        pictures,
        samples,
        pairs,
        judge=load_judge(run),
        yardsticks=open_yardsticks(),
        conventions=conventions,
        progress=progress,
    )


def _joined(parts: Sequence[PairScores]) -> PairScores:
    """Folds, one behind the other."""

    def join(values: list[Any]) -> Any:
        if isinstance(values[0], dict):
            return {key: join([value[key] for value in values]) for key in values[0]}
        return np.concatenate(values)

    return PairScores(
        subject=join([p.subject for p in parts]),
        shift_deg=join([p.shift_deg for p in parts]),
        head_yaw_deg=join([p.head_yaw_deg for p in parts]),
        metrics=join([p.metrics for p in parts]),
        features=join([p.features for p in parts]),
        absent={},
    )


def _write(path: Path, **arrays: NDArray) -> None:
    with atomic_file(path, force=True) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **arrays)


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path}: scores cannot be read: {error}; remove it to score again"
        ) from error

"""Score the trained entrants of a benchmark.

An entrant is one of the trainings that a benchmark compares. A row is a row of the report's tables:
an entrant with labelled or with estimated source gazes. The scores of all pairs of a row are stored
in one file.

The reported subjects are the subjects to score. The reported subjects are divided into parts called
folds. Each fold has its own judge, a gaze estimator that was not trained on the fold's subjects.
Rows that already have a file are not scored again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.progress import Progress
from mggr_edge.errors import RunError
from mggr_tf.benchmark.campaign import judge_path, run_path
from mggr_tf.benchmark.plan import BenchmarkEntry, Plan
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.metrics import PairScores
from mggr_tf.evaluation.network_metrics import REAL, open_network_metrics
from mggr_tf.evaluation.protocol import (
    Redirect,
    redirect_pairs,
    refuse_seen_subjects,
    score_pictures,
)
from mggr_tf.evaluation.score_run import PAIRS_SEED
from mggr_tf.evaluation.source_gaze import SourceGaze, estimate_sources
from mggr_tf.evaluation.trained import load_estimator, load_judge, load_redirector, redirect_with
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import trained_on, warn_of_unknown_donors

BASELINES = ("copy", "target")
"""Methods that are scored in addition to the entrants. `copy` is the unchanged source picture, and
`target` is the real picture of the target gaze."""

_NETWORK = "st_vgg"
_ESTIMATED = "-estimated"


@dataclass(frozen=True)
class Row:
    """One row of the tables: an entrant with one kind of source gaze.

    Attributes:
        entrant: trained entrant.
        source: kind of source gaze. `estimated` means that the entrant's own gaze estimator
            estimates the source gaze.
    """

    entrant: BenchmarkEntry
    source: SourceGaze

    @property
    def name(self) -> str:
        """Name of the row in tables and files."""
        return estimated_name(self.entrant.name) if self.is_estimated else self.entrant.name

    @property
    def is_estimated(self) -> bool:
        """Whether the source gaze is estimated, as on a device."""
        return self.source == "estimated"


def estimated_name(name: str) -> str:
    """Return the name of an entrant's row with estimated source gazes."""
    return f"{name}{_ESTIMATED}"


def rows_of(
    folder: Path, entrants: Sequence[BenchmarkEntry], sources: Sequence[SourceGaze]
) -> tuple[Row, ...]:
    """Return the rows of trained entrants.

    Only entrants with a gaze estimator have a row with estimated source gazes.
    """
    return tuple(
        Row(entrant, source)
        for entrant in entrants
        for source in sources
        if source == "labelled"
        or RunFolder.open(run_path(folder, entrant)).has_weights("estimator")
    )


def scores_file(folder: Path, name: str) -> Path:
    """Return the path of the file with a row's scores.

    All rows share the file with the name `pairs`.
    """
    return folder / "scores" / f"{name}.npz"


def score_entrants(
    folder: Path,
    plan: Plan,
    rows: Sequence[Row],
    samples: EyeSamples,
    *,
    progress: Progress,
    notify: Callable[[str], None],
) -> None:
    """Score the rows whose file is missing.

    The real pictures are processed only once for all these rows.

    Args:
        folder: folder of the benchmark.
        plan: plan of the benchmark.
        rows: rows of the tables.
        samples: patches of the reported subjects.
        progress: reports the progress of redirecting and scoring.
        notify: called with messages for the user.

    Raises:
        UsageError: an entrant was trained on reported subjects, or a judge was trained on subjects
            of its fold.
        RunError: an entrant or a judge is not trained.
    """
    missing = [row for row in rows if not scores_file(folder, row.name).is_file()]
    if not missing:
        return
    notify("scoring " + ", ".join(row.name for row in missing))
    _refuse_seen(folder, plan, list(dict.fromkeys(row.entrant for row in missing)), notify=notify)
    parts = [
        _score_fold(folder, plan, fold, missing, samples.of_subjects(people), progress)
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
    for name in (*BASELINES, *(row.name for row in missing)):
        _write(
            scores_file(folder, name),
            features=scores.features[_NETWORK][name],
            **scores.metrics[name],
        )


def read_scores(folder: Path, names: Sequence[str]) -> PairScores:
    """Read the scores of the baselines, and the scores of the rows with the given names.

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


def redirect_of(folder: Path, entrant: BenchmarkEntry) -> Redirect:
    """Load an entrant's redirector.

    Raises:
        RunError: the entrant is not trained.
    """
    return redirect_with(load_redirector(RunFolder.open(run_path(folder, entrant))))


def _refuse_seen(
    folder: Path, plan: Plan, entrants: Sequence[BenchmarkEntry], *, notify: Callable[[str], None]
) -> None:
    """Check that no entrant and no judge was trained on the subjects to score.

    The plan alone does not guarantee this. A run in the folder may have started from the weights of
    another run that was trained on other subjects.

    Raises:
        UsageError: an entrant was trained on a reported subject. This error is also raised if a
            fold's judge was trained on a subject of the fold.
    """
    runs = {f"entrant {e.name}": RunFolder.open(run_path(folder, e)) for e in entrants}
    refuse_seen_subjects(plan.report, trained_on(runs))
    warn_of_unknown_donors(runs, notify)
    for fold, people in enumerate(plan.report_folds()):
        judge = {f"judge {fold + 1}": RunFolder.open(judge_path(folder, fold))}
        refuse_seen_subjects(people, trained_on(judge))
        warn_of_unknown_donors(judge, notify)


def _score_fold(
    folder: Path,
    plan: Plan,
    fold: int,
    rows: Sequence[Row],
    samples: EyeSamples,
    progress: Progress,
) -> PairScores:
    run = RunFolder.open(judge_path(folder, fold))
    conventions = run.config.conventions
    pairs = all_pairs(samples, limit=plan.pairs // plan.folds, seed=PAIRS_SEED)
    pictures = {}
    for row in rows:
        source_deg = None
        if row.is_estimated:
            estimator = load_estimator(RunFolder.open(run_path(folder, row.entrant)))
            found = estimate_sources(estimator, samples, conventions=conventions, progress=progress)
            source_deg = found.gaze_deg
        with progress(f"redirecting with {row.name}", len(pairs)) as advance:
            made = redirect_pairs(
                redirect_of(folder, row.entrant),
                samples,
                pairs,
                conventions=conventions,
                source_deg=source_deg,
                advance=advance,
            )
        pictures[row.name] = (made["redirected"] + 1) / 2
    return score_pictures(
        pictures,
        samples,
        pairs,
        judge=load_judge(run),
        network_metrics=open_network_metrics(),
        conventions=conventions,
        progress=progress,
    )


def _joined(parts: Sequence[PairScores]) -> PairScores:
    """Concatenate the scores of all folds."""

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
            f"{path}: the scores cannot be read: {error}; to compute them again, remove the file",
            code="scores-unreadable",
            path=path,
        ) from error

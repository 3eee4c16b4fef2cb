"""Run a benchmark from its plan to its report, and plot the training curves.

An entrant is one of the trainings that a benchmark compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress
from mggr_edge.errors import UsageError
from mggr_tf.benchmark.campaign import is_trained, run_path, train_entrants, train_judges
from mggr_tf.benchmark.document import Picture, Section
from mggr_tf.benchmark.pictures import Figure, draw_pictures
from mggr_tf.benchmark.plan import ENTRANTS, METHODS, BenchmarkEntry, Plan, open_plan
from mggr_tf.benchmark.report import results_of, titles_of, write_report
from mggr_tf.benchmark.scoring import read_scores, redirect_of, rows_of, score_entrants
from mggr_tf.config.files import load_config
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import open_samples
from mggr_tf.evaluation.protocol import roles_of, roles_text
from mggr_tf.evaluation.source_gaze import SOURCES, SourceGaze
from mggr_tf.runs.folder import RunFolder

_FILE = "pictures/curves.png"
_PARTS = 40
"""Maximum number of points of a curve. The loss of a single batch is noisy. Therefore the log is
divided into equal parts, and each point is the mean of one part."""

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curves(folder: Path, entrants: Sequence[BenchmarkEntry]) -> Picture:
    """Plot the L1 difference on training batches for every entrant.

    Each curve shows the last stage of one entrant.

    Args:
        folder: folder of the benchmark.
        entrants: trained entrants. Each entrant has one curve.

    Returns:
        the plot and its caption for the report.
    """
    figure = Figure(1)
    (axes,) = figure.axes
    for entrant in entrants:
        run = RunFolder.open(run_path(folder, entrant))
        stage = run.config.last_stage(portraits=False)
        metric = "l1_coarse" if stage == "coarse" else "l1"
        if logged := run.logged(stage, metric):
            steps, values = smoothed(logged)
            # Logged values refer to pixel values in [-1, 1]. The tables refer to pixel values in
            # [0, 1].
            axes.plot(steps, values / 2, label=entrant.title)
    axes.set(xlabel="steps of the last stage", ylabel="L1 on training batches", xscale="log")
    figure.save(folder / _FILE)
    return Picture(
        _FILE,
        "L1 on training batches against steps. The batches are augmented, so the values are "
        "higher than in the tables. If a curve still decreases at its end, the training was too "
        "short.",
    )


def smoothed(logged: dict[int, float]) -> Curve:
    """Divide a log into at most 40 equal parts. Return the mean step and value of each part."""
    steps = np.array(sorted(logged), float)
    values = np.array([logged[int(step)] for step in steps])
    parts = min(_PARTS, len(steps))
    means = [
        np.array([part.mean() for part in np.array_split(column, parts)])
        for column in (steps, values)
    ]
    return means[0], means[1]


_SHOWN = ("synthetic.subjects=12", "synthetic.per_group=21")
"""Config changes for `--show synthetic`. With these changes, some of the eyes look straight
ahead."""


def run_benchmark(
    folder: Path,
    wanted: Plan,
    entrants: Sequence[BenchmarkEntry],
    *,
    progress: Progress,
    notify: Callable[[str], None],
    show: str | None = None,
    sources: Sequence[SourceGaze] = SOURCES,
    field: Sequence[BenchmarkEntry] = ENTRANTS,
) -> None:
    """Train and score entrants, and write a report on all trained entrants.

    Entrants that are already trained and scored are skipped.

    Args:
        folder: folder of the benchmark. The folder is new, or contains a benchmark with the same
            plan.
        wanted: plan of the benchmark.
        entrants: entrants to train in this call. Entrants from earlier calls stay in the report.
        progress: reports the progress of reading, redirecting and scoring.
        notify: called with messages for the user.
        show: data with the eyes that the report's pictures show. If pictures of the reported
            subjects must not be published, set `show`. `None` shows the reported subjects.
        sources: kinds of source gazes to redirect from. Each kind has a row in the tables. Only
            entrants with a gaze estimator have a row with estimated source gazes.
        field: all entrants of the benchmark.

    Raises:
        UsageError: the folder contains a benchmark with another plan. This error is also raised if
            only estimated source gazes are requested, and no entrant has a gaze estimator.
        DataError: a subject of the plan is not in the data.
        RunError: a training failed, or its run folder is damaged.
    """
    config = load_config(entrants[0].config)
    seed = config.synthetic.seed
    try:
        wanted = wanted.with_present_names(seed=seed)
    except ValueError as error:
        raise UsageError(
            str(error), code="benchmark-plan-invalid", reason=str(error), folds=wanted.folds
        ) from error
    samples = open_samples(
        wanted.data, config=config, subjects=wanted.report, progress=progress, notify=notify
    )
    if text := roles_text(roles_of(samples)):
        notify(text)
    shown_eyes = samples if show is None else _eyes_to_show(show, progress=progress, notify=notify)
    plan = open_plan(folder, wanted, seed=seed)
    train_judges(folder, plan, notify=notify)
    train_entrants(folder, plan, entrants, field=field, notify=notify)
    there = [e for e in field if _is_there(folder, e)]
    rows = rows_of(folder, there, sources)
    if not rows:
        raise UsageError(
            "no trained method has a gaze estimator; omit --source estimated",
            code="no-entrant-with-estimator",
        )
    score_entrants(folder, plan, rows, samples, progress=progress, notify=notify)
    scores = read_scores(folder, [row.name for row in rows])
    shown = [e for e in there if e.group == "method"] or there
    pictures = draw_pictures(
        folder,
        shown_eyes,
        scores,
        {e.name: redirect_of(folder, e) for e in shown},
        titles_of(there),
        plotted=[row.name for row in rows if row.entrant in shown],
        conventions=config.conventions,
    )
    compared = [e for e in there if e.group != "ablation"] or there
    training = Section("Training", (draw_curves(folder, compared),))
    results = results_of(folder, there, scores)
    write_report(folder, plan, there, results, extra=[pictures, training])


def _is_there(folder: Path, entrant: BenchmarkEntry) -> bool:
    last = load_config(entrant.config, changes=entrant.changes).last_stage(portraits=False)
    return is_trained(run_path(folder, entrant), last)


def _eyes_to_show(source: str, *, progress: Progress, notify: Callable[[str], None]) -> EyeSamples:
    config = load_config(METHODS[0].config, changes=_SHOWN)
    return open_samples(source, config=config, subjects=None, progress=progress, notify=notify)

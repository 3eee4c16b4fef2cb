"""Compute and write the benchmark's tables.

The tables contain the scores of the methods, and the differences between methods with confidence
intervals. An entrant is one of the trainings that a benchmark compares. The shift of a pair is the
angle between its source gaze and its target gaze. The method `copy` returns the source picture
unchanged.

The report also contains a floor for some metrics. The floor is the score that a second photograph
with the same gaze would have. Two photographs differ by movement, blinks and light. A redirector
cannot predict these differences, so the floor is the best possible score. The data set has only one
photograph per gaze. Therefore the floor is not measured but extrapolated. The score of `copy` grows
with the shift. A line is fitted to the mean scores at small shifts. The value of the line at a
shift of zero is the floor.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain
from mggr_tf.benchmark.campaign import redirection_steps, run_path
from mggr_tf.benchmark.document import Section, Table, to_html, to_markdown
from mggr_tf.benchmark.plan import CONTROL, BenchmarkEntry, Plan
from mggr_tf.benchmark.scoring import estimated_name
from mggr_tf.config.stages import OF_GAZE
from mggr_tf.evaluation.bootstrap import MIN_SUBJECTS
from mggr_tf.evaluation.metrics import (
    CATALOGUE,
    PairScores,
    by_head,
    by_shift,
    multiply_accumulates,
    overall,
)
from mggr_tf.evaluation.metrics import Table as Numbers
from mggr_tf.evaluation.report import Comparison, compare, resample
from mggr_tf.models.networks import Redirection
from mggr_tf.runs.folder import RunFolder

_LINEAR_TO_DEG = 16.0
"""Largest shift in the linear fit, in degrees. At larger shifts, the two irises no longer overlap.
The difference then grows more slowly, so a line does not fit."""


def floor_of(scores: PairScores, metric: str) -> float:
    """Return the score of `copy` in a metric, extrapolated to a shift of 0 degrees.

    Raises:
        ValueError: the pairs have fewer than two different shifts up to 16 degrees.
    """
    near = scores.shift_deg <= _LINEAR_TO_DEG
    shift, values = np.round(scores.shift_deg[near], 1), scores.metrics["copy"][metric][near]
    angles = np.unique(shift)
    if len(angles) < 2:
        raise ValueError("a line needs two shifts")
    means, weights = _means(shift, values, angles)
    return float(np.polyfit(angles, means, 1, w=np.sqrt(weights))[1])


def _means(
    shift: NDArray[np.float64], values: NDArray[np.float64], angles: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    where = [shift == angle for angle in angles]
    return np.array([values[w].mean() for w in where]), np.array([w.sum() for w in where], float)


OURS = "mggr"
_BASELINE = dict.fromkeys((OURS, estimated_name(OURS)), ("copy",))
_TITLE = "Gaze redirection benchmark"
_COLUMNS = (
    "l1",
    "psnr_db",
    "ssim",
    "st_lpips",
    "fd_vgg",
    "kd_vgg",
    "gaze_error_deg",
    "outside_iris",
)
_DECIDING = ("l1", "st_lpips", "fd_vgg", "gaze_error_deg")
_FLOORED = ("l1", "st_lpips")


@dataclass(frozen=True)
class TrainingCost:
    """Size and training cost of an entrant.

    Attributes:
        parameters: number of parameters of the redirector.
        mmac: number of multiply-accumulates for one eye, in millions.
        minutes: recorded training time of all stages together, in minutes.
        steps: number of training steps of the redirector, over all its stages.
        pairs: number of pairs in these steps.
    """

    parameters: int
    mmac: float
    minutes: float
    steps: int
    pairs: int


@dataclass(frozen=True)
class Results:
    """All numbers of a report.

    Attributes:
        overall: method -> metric -> value. The method `NAME-estimated` is the entrant NAME with
            estimated source gazes.
        by_shift: bin of the shift -> table with the same structure as `overall`.
        by_head: bin of the head yaw -> table with the same structure as `overall`.
        against: first method -> second method -> metric -> comparison of both methods. The dict is
            empty if there are too few subjects for confidence intervals.
        floor: metric -> extrapolated score of a second photograph with the same gaze.
        effort: entrant -> size and training cost.
    """

    overall: Numbers
    by_shift: dict[str, Numbers]
    by_head: dict[str, Numbers]
    against: dict[str, dict[str, dict[str, Comparison]]]
    floor: dict[str, float]
    effort: dict[str, TrainingCost]


def results_of(folder: Path, entrants: Sequence[BenchmarkEntry], scores: PairScores) -> Results:
    """Compute the tables and the confidence intervals of the scored entrants.

    Args:
        folder: folder of the benchmark.
        entrants: trained entrants.
        scores: scores of the entrants, of `copy` and of `target`. `target` is the real picture of
            the target gaze.
    """
    names = [name for name in _with_estimated(entrants) if name in scores.metrics]
    enough = len(scores.subjects) >= MIN_SUBJECTS
    resampled = resample(scores, ("copy", *names)) if enough else {}
    labelled = {
        OURS: [e.name for e in entrants if e.group != "ablation" and e.name != OURS],
        CONTROL: [e.name for e in entrants if e.group == "ablation" and e.name != CONTROL],
    }
    # A row is compared only with rows that have the same kind of source gaze. There is one
    # exception: MGGR's row with estimated source gazes is also compared with MGGR's row with
    # labelled source gazes.
    estimated = {
        estimated_name(ours): [ours, *map(estimated_name, others)]
        for ours, others in labelled.items()
    }
    asked = {
        ours: [name for name in (*_BASELINE.get(ours, ()), *others) if name in resampled]
        for ours, others in (labelled | estimated).items()
    }
    return Results(
        overall=overall(scores),
        by_shift=by_shift(scores),
        by_head=by_head(scores),
        against={
            ours: {name: compare(resampled[ours], resampled[name]) for name in others}
            for ours, others in asked.items()
            if ours in resampled
        },
        floor={name: floor_of(scores, name) for name in _FLOORED},
        effort={e.name: training_cost_of(RunFolder.open(run_path(folder, e))) for e in entrants},
    )


def training_cost_of(run: RunFolder) -> TrainingCost:
    """Compute the size and training cost of a run from its record and its config."""
    model = Redirection.build(run.config).joined
    stages = [s for s in run.config.recipe if s in run.record.stages]
    shown = sum(
        run.record.stages[s].done * run.config.stage(s).batch * run.config.stage(s).critic_steps
        for s in stages
        if s not in OF_GAZE
    )
    return TrainingCost(
        parameters=model.count_params(),
        mmac=multiply_accumulates(model) / 1e6,
        minutes=sum(run.record.stages[s].seconds for s in stages) / 60,
        steps=redirection_steps(run),
        pairs=shown,
    )


def write_report(
    folder: Path,
    plan: Plan,
    entrants: Sequence[BenchmarkEntry],
    results: Results,
    *,
    extra: Sequence[Section] = (),
) -> None:
    """Write `benchmark.md`, `benchmark.html` and `benchmark.json` into the benchmark's folder.

    Args:
        folder: folder of the benchmark.
        plan: plan of the benchmark.
        entrants: entrants in the report.
        results: numbers of the report.
        extra: sections to add after the tables, for example pictures.
    """
    sections = [*sections_of(plan, entrants, results), *extra]
    record = {"date": date.today().isoformat(), "machine": _machine(), "plan": plain(plan)}
    texts = {
        "benchmark.md": to_markdown(_TITLE, sections),
        "benchmark.html": to_html(_TITLE, sections),
        "benchmark.json": _json({**record, "results": plain(results)}),
    }
    for name, text in texts.items():
        with atomic_file(folder / name, force=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


def titles_of(entrants: Sequence[BenchmarkEntry]) -> dict[str, str]:
    """Return the title of every row, including the rows with estimated source gazes."""
    own = {e.name: e.title for e in entrants}
    return own | {estimated_name(n): f"{title}, estimated source" for n, title in own.items()}


def _with_estimated(entrants: Sequence[BenchmarkEntry]) -> list[str]:
    """Return the names of all possible rows.

    Each entrant has two rows, which follow each other.
    """
    return [name for e in entrants for name in (e.name, estimated_name(e.name))]


def sections_of(plan: Plan, entrants: Sequence[BenchmarkEntry], results: Results) -> list[Section]:
    """Return the sections of the report, without its pictures."""
    titles = {"copy": "copy the source", "target": "real target"} | titles_of(entrants)
    there = results.overall
    main, ablations = (
        [name for name in _with_estimated(some) if name in there]
        for some in (
            [e for e in entrants if e.group != "ablation"],
            [e for e in entrants if e.group == "ablation"],
        )
    )
    about = (_setting(plan), _sources_note(entrants, there), _effort_table(results, titles))
    sections = [Section("Setup", about)]
    if main:
        sections.append(_group("Methods", ["copy", *main, "target"], results, titles))
    for ours in (OURS, estimated_name(OURS)):
        if results.against.get(ours):
            sections.append(_against(f"{titles[ours]}: comparisons", ours, results, titles))
    if ablations:
        title = f"Ablations, {plan.ablation_minutes:g} minutes each"
        sections.append(_group(title, ["copy", *ablations, "target"], results, titles))
    for ours in (CONTROL, estimated_name(CONTROL)):
        if results.against.get(ours):
            title = "Effect of each component" + (", estimated source" if ours != CONTROL else "")
            sections.append(_against(title, ours, results, titles))
    sections.append(_bins("Gaze error above the judge's own, by shift", results.by_shift, titles))
    sections.append(_bins("Gaze error above the judge's own, by head yaw", results.by_head, titles))
    return sections


def _setting(plan: Plan) -> str:
    judge = (
        "one judge (a gaze estimator used only for scores), trained on the training subjects"
        if plan.folds == 1
        else f"{plan.folds} judges (gaze estimators used only for scores); each judge is trained "
        "on the training subjects and on the reported subjects that it does not score"
    )
    return (
        f"Trained on {len(plan.train)} subjects ({plan.train[0]} to {plan.train[-1]}), scored on "
        f"{', '.join(plan.report)}, which are not training subjects of any method; {plan.pairs} "
        f"pairs, seed {plan.seed}, {plan.minutes:g} minutes per method; {judge}; "
        f"{date.today().isoformat()}, {_machine()}."
    )


def _sources_note(entrants: Sequence[BenchmarkEntry], there: Mapping[str, object]) -> str:
    """Return a note that explains the source gazes of the rows."""
    without = [e.title for e in entrants if estimated_name(e.name) not in there]
    note = (
        "Rows without a note use the labelled gaze of the source. A device does not have this "
        "label. Rows with `estimated source` use the estimate of the gaze estimator that was "
        "trained with the method. If the data has both eyes of a photograph, the mean of both "
        "estimates is used. Methods and judges receive the labelled head pose in all rows."
    )
    return note + (f" Methods without such rows: {', '.join(without)}." if without else "")


def _machine() -> str:
    import os

    return f"{os.cpu_count()} cores, {platform.machine()}"


def _effort_table(results: Results, titles: Mapping[str, str]) -> Table:
    rows = tuple(
        (
            titles[name],
            f"{effort.parameters / 1e6:.2f} M",
            f"{effort.mmac:.0f}",
            f"{effort.minutes:.0f}",
            f"{effort.steps}",
            f"{effort.pairs}",
        )
        for name, effort in results.effort.items()
    )
    return Table(
        ("entrant", "parameters", "MMAC per eye", "minutes", "steps", "training pairs"), rows
    )


def _group(
    title: str, names: Sequence[str], results: Results, titles: Mapping[str, str]
) -> Section:
    head = ("", *(CATALOGUE[name].title for name in _COLUMNS), "L1 / copy", "ST-LPIPS / copy")
    copy = results.overall["copy"]
    rows = []
    for name in names:
        row = results.overall[name]
        ratios = (f"{_value(row[c]) / _value(copy[c]):.3f}" for c in _FLOORED)
        rows.append((titles[name], *(_cell(c, row.get(c)) for c in _COLUMNS), *ratios))
    floors = ", ".join(
        f"{value / _value(copy[name]):.2f} of the {CATALOGUE[name].title} of copy"
        for name, value in results.floor.items()
    )
    note = (
        f"Floor: two photographs with the same gaze differ by {floors}. This value is extrapolated "
        "from pairs with a small angle between source and target gaze. No method can predict this "
        "difference."
    )
    return Section(title, (Table(head, tuple(rows)), note))


def _against(title: str, ours: str, results: Results, titles: Mapping[str, str]) -> Section:
    head = ("", *(CATALOGUE[name].title for name in _DECIDING))
    rows = tuple(
        (titles[other], *(_verdict(name, found[name]) for name in _DECIDING if name in found))
        for other, found in results.against[ours].items()
    )
    note = (
        f"Each cell shows the score of {titles[ours]} minus the score of the row, with the 95 % "
        "interval over resampled subjects. If the interval excludes zero, the cell states `ahead` "
        "(the score of the row is worse) or `behind` (the score of the row is better)."
    )
    return Section(title, (note, Table(head, rows)))


def _verdict(name: str, found: Comparison) -> str:
    form = CATALOGUE[name].form
    low, middle, high = (
        f"{v:+{form}}"
        for v in (found.difference.low, found.difference.estimate, found.difference.high)
    )
    return f"{middle} [{low}, {high}] {found.verdict}"


def _bins(title: str, bins: Mapping[str, Numbers], titles: Mapping[str, str]) -> Section:
    names = [n for n in next(iter(bins.values())) if n != "target"]
    rows = tuple(
        (
            titles[name],
            *(
                f"{_value(t[name]['gaze_error_deg']) - _value(t['target']['gaze_error_deg']):+.2f}"
                for t in bins.values()
            ),
        )
        for name in names
    )
    own = tuple(f"{_value(t['target']['gaze_error_deg']):.2f}" for t in bins.values())
    return Section(title, (Table(("degrees", *bins), (*rows, ("judge on real targets", *own))),))


def _cell(name: str, value: float | None) -> str:
    return "absent" if value is None else f"{value:{CATALOGUE[name].form}}"


def _value(value: float | None) -> float:
    assert value is not None, "the benchmark measures all its metrics"
    return value


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"

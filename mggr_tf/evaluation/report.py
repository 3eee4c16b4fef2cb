"""Report of an evaluation, and comparison of two methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain
from mggr_tf.evaluation.bootstrap import (
    DRAWS,
    MIN_SUBJECTS,
    Interval,
    Resampled,
    difference,
    draw_subjects,
    is_ahead,
    ratio,
    resampled_mean,
)
from mggr_tf.evaluation.estimator_scores import EstimatorScores
from mggr_tf.evaluation.metrics import (
    CATALOGUE,
    SET_METRICS,
    PairScores,
    Table,
    by_head,
    by_shift,
    overall,
)
from mggr_tf.evaluation.network_metrics import REAL
from mggr_tf.evaluation.protocol import REDIRECTED, Evaluation
from mggr_tf.evaluation.set_metrics import resampled_frechet, resampled_kernel

Verdict = Literal["ahead", "behind", "undecided"]

_RESAMPLED_NETWORKS = ("st_vgg",)
"""Networks whose set distances have confidence intervals. InceptionV3 is excluded: its 2048
features would take an hour, and its metrics do not decide between methods."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of two methods, "ours" and "theirs", in one metric.

    Attributes:
        difference: ours minus theirs.
        ratio: ours divided by theirs. None for metrics without a meaningful zero (PSNR, SSIM,
            distances of sets), and if a resampled value of theirs is zero.
        verdict: `ahead` if the 95 % interval of the difference lies entirely on the better side
            of zero, `behind` if it lies entirely on the other side, otherwise `undecided`.
    """

    difference: Interval
    ratio: Interval | None
    verdict: Verdict


def resample(
    scores: PairScores, methods: Sequence[str], *, draws: int = DRAWS
) -> dict[str, dict[str, Resampled]]:
    """Compute all metrics that can be compared, on the same resampled subjects.

    Args:
        scores: scores of all methods.
        methods: names of the methods to resample.
        draws: number of draws.

    Returns:
        method -> metric -> values on the draws.

    Raises:
        UsageError: there are fewer subjects than a bootstrap needs.
    """
    drawn = draw_subjects(scores.subject, draws=draws)
    resampled = {
        method: {
            name: resampled_mean(drawn, values)
            for name, values in scores.metrics[method].items()
            if CATALOGUE[name].better is not None
        }
        for method in methods
    }
    for network in _RESAMPLED_NETWORKS:
        features = scores.features.get(network)
        if features is None:
            continue
        made = {method: features[method] for method in methods}
        frechet, kernel = SET_METRICS[network]
        frechets = resampled_frechet(drawn, made, features[REAL])
        kernels = resampled_kernel(drawn, made, features[REAL])
        for method in methods:
            resampled[method] |= {frechet: frechets[method], kernel: kernels[method]}
    return resampled


def compare(ours: dict[str, Resampled], theirs: dict[str, Resampled]) -> dict[str, Comparison]:
    """Compare two methods in every metric that both have; both must use the same draws."""
    return {
        name: _compare(name, ours[name], theirs[name])
        for name in CATALOGUE
        if name in ours and name in theirs
    }


def _compare(name: str, ours: Resampled, theirs: Resampled) -> Comparison:
    metric = CATALOGUE[name]
    found, lower = difference(ours, theirs), metric.better == "lower"
    verdict: Verdict = "undecided"
    if is_ahead(found, lower_is_better=lower):
        verdict = "ahead"
    elif is_ahead(found, lower_is_better=not lower):
        verdict = "behind"
    has_ratio = lower and metric.over == "pair" and np.all(theirs.values > 0)
    return Comparison(found, ratio(ours, theirs) if has_ratio else None, verdict)


_BASELINES = ("copy", "coarse")


@dataclass(frozen=True)
class SourceSummary:
    """Accuracy of the estimated source gazes.

    Attributes:
        patches: number of patches.
        error_deg: mean angle between estimate and label in degrees.
        both_eyes_share: share of the patches whose estimate is the mean over both eyes of a face,
            as on a device. The other patches have the estimate of a single eye.
    """

    patches: int
    error_deg: float
    both_eyes_share: float


@dataclass(frozen=True)
class Summary:
    """Tables of an evaluation.

    Attributes:
        pairs: number of pairs.
        subjects: names of the subjects.
        overall: table over all pairs.
        by_shift: bin of the angle between source and target gaze -> table.
        by_head: head yaw, or bin of it -> table.
        against: baseline -> metric -> comparison of the redirected pictures with that baseline,
            for labelled source gazes. Empty if there are too few subjects for intervals, or if
            labelled source gazes were not requested.
        absent: metric -> reason why it has no value.
        iris_residual: see `Evaluation`.
        median_flow_px: see `Evaluation`.
        against_estimated: same as `against` for estimated source gazes; the redirection from
            labelled source gazes ("redirected") is an additional baseline.
        estimated_sources: accuracy of the estimated source gazes; None if only labels were used.
    """

    pairs: int
    subjects: tuple[str, ...]
    overall: Table
    by_shift: dict[str, Table]
    by_head: dict[str, Table]
    against: dict[str, dict[str, Comparison]]
    absent: dict[str, str]
    iris_residual: float
    median_flow_px: float
    against_estimated: dict[str, dict[str, Comparison]] = field(default_factory=dict)
    estimated_sources: SourceSummary | None = None


def summarise(evaluation: Evaluation) -> Summary:
    """Compute tables and intervals; the intervals of set distances take some seconds."""
    scores, estimates = evaluation.scores, evaluation.estimates
    compared = _compared(scores) if len(scores.subjects) >= MIN_SUBJECTS else {}
    return Summary(
        pairs=len(scores.subject),
        subjects=scores.subjects,
        overall=overall(scores),
        by_shift=by_shift(scores),
        by_head=by_head(scores),
        against=compared.get(REDIRECTED["labelled"], {}),
        absent=scores.absent,
        iris_residual=evaluation.iris_residual,
        median_flow_px=evaluation.median_flow_px,
        against_estimated=compared.get(REDIRECTED["estimated"], {}),
        estimated_sources=None
        if estimates is None
        else SourceSummary(len(estimates.gaze_deg), estimates.error_deg, estimates.both_eyes_share),
    )


def _compared(scores: PairScores) -> dict[str, dict[str, dict[str, Comparison]]]:
    """Return redirection -> baseline -> metric -> comparison."""
    ours = [name for name in REDIRECTED.values() if name in scores.metrics]
    resampled = resample(scores, (*ours, *_BASELINES))
    return {
        name: {
            other: compare(resampled[name], resampled[other])
            for other in (*_BASELINES, *ours[: ours.index(name)])
        }
        for name in ours
    }


def table_text(table: Table) -> str:
    """Format a table with one line per method; absent metrics have no column.

    The units of the metrics are in the `CATALOGUE`.
    """
    names = [name for name, value in next(iter(table.values())).items() if value is not None]
    columns = [[CATALOGUE[n].title, *(_number(n, row[n]) for row in table.values())] for n in names]
    widths = [max(map(len, column)) + 3 for column in columns]
    heads = ("", *table)
    first = max(12, *(len(head) + 1 for head in heads))
    return "\n".join(
        f"{head:<{first}}"
        + "".join(f"{column[i]:>{w}}" for column, w in zip(columns, widths, strict=True))
        for i, head in enumerate(heads)
    )


def comparison_text(comparisons: Mapping[str, Comparison]) -> str:
    """Format comparisons, one line per metric: difference, its 95 % interval, ratio, verdict."""
    lines = []
    for name, found in comparisons.items():
        line = f"{CATALOGUE[name].title:<12}{_interval(name, found.difference, sign='+'):>36}"
        by = "" if found.ratio is None else f"x {_interval('ssim', found.ratio)}"
        lines.append(f"{line}  {by:<27}  {found.verdict}")
    return "\n".join(lines)


def summary_text(summary: Summary) -> str:
    """Format the whole report for a terminal."""
    parts = [
        f"{summary.pairs} pairs of {len(summary.subjects)} subjects, "
        f"median flow {summary.median_flow_px:.2f} px, "
        f"residual inside the iris {summary.iris_residual:.4f}",
        table_text(summary.overall),
        *_source_text(summary.estimated_sources),
    ]
    if summary.absent:
        parts.append(
            "\n".join(
                f"absent: {CATALOGUE[name].title} ({why})" for name, why in summary.absent.items()
            )
        )
    for title, tables in (("gaze shift", summary.by_shift), ("head yaw", summary.by_head)):
        parts += [f"{title} {name}\n{table_text(table)}" for name, table in tables.items()]
    against = {
        REDIRECTED["labelled"]: summary.against,
        REDIRECTED["estimated"]: summary.against_estimated,
    }
    for ours, baselines in against.items():
        for name, comparisons in baselines.items():
            parts.append(
                f"{ours} - {name}, 95 % interval over subjects; ratio of means; "
                f"verdict\n{comparison_text(comparisons)}"
            )
    if any("fd_vgg" in found.get("copy", {}) for found in against.values()):
        parts.append("FD-VGG and KD-VGG favour copies, because they are real pictures")
    if not any(against.values()):
        parts.append(f"no intervals: they need at least {MIN_SUBJECTS} subjects")
    return "\n\n".join(parts)


def _source_text(found: SourceSummary | None) -> list[str]:
    """Return the paragraph about the source gazes of the rows."""
    labelled, estimated = REDIRECTED["labelled"], REDIRECTED["estimated"]
    if found is None:
        return [f"{labelled} uses the labelled source gaze, which a device does not have"]
    return [
        f"{estimated} uses the run's own estimate of the source gaze, as a device does: mean error "
        f"{found.error_deg:.2f} degrees on {found.patches} patches, the mean of both eyes for "
        f"{found.both_eyes_share:.0%} of them"
    ]


def write_json(
    path: Path, summary: Summary | EstimatorScores, *, about: Mapping[str, Any], force: bool
) -> None:
    """Write the scores and the settings of the measurement as JSON.

    Args:
        path: file to write.
        summary: scores.
        about: settings of the measurement, such as run and data.
        force: whether an existing file is replaced.

    Raises:
        OutputExistsError: the file exists and `force` is false.
    """
    with atomic_file(path, force=force) as temporary:
        text = json.dumps({**about, "scores": plain(summary)}, indent=2, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def _interval(name: str, interval: Interval, *, sign: str = "") -> str:
    ends = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (_number(name, end, sign=sign) for end in ends)
    return f"{estimate} [{low}, {high}]"


def _number(name: str, value: float | None, *, sign: str = "") -> str:
    return "absent" if value is None else f"{value:{sign}{CATALOGUE[name].form}}"

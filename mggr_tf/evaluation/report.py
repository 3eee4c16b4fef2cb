"""Summarise and format the results of an evaluation, and compare two methods."""

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
"""Feature networks whose distances between sets of pictures have confidence intervals. InceptionV3
is excluded for two reasons. InceptionV3 has 2048 features, so its intervals would take an hour. The
metrics of InceptionV3 are not used to decide between methods."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of two methods in one metric.

    The first method is called "ours", and the second method is called "theirs".

    Attributes:
        difference: value of the first method minus value of the second method.
        ratio: value of the first method divided by value of the second method. The value is `None`
            if a ratio has no meaning for the metric (PSNR, SSIM, and distances between sets of
            pictures). The value is also `None` if any resampled value of the second method is zero
            or negative.
        verdict: `ahead` if the first method is better and the 95 % interval of the difference does
            not contain zero. `behind` if the first method is worse and the interval does not
            contain zero. Otherwise `undecided`.
    """

    difference: Interval
    ratio: Interval | None
    verdict: Verdict


def resample(
    scores: PairScores, methods: Sequence[str], *, draws: int = DRAWS
) -> dict[str, dict[str, Resampled]]:
    """For resampled subjects, compute all metrics that have a better direction (`Metric.better`).

    A draw is one random choice of subjects with replacement. All methods use the same draws.

    Args:
        scores: scores of all methods.
        methods: names of the methods to resample.
        draws: number of random choices of subjects.

    Returns:
        method -> metric -> values for all draws.

    Raises:
        UsageError: there are too few subjects for resampling (see `MIN_SUBJECTS`).
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
    """Compare two methods in every metric that both methods have.

    Both methods must have been resampled with the same draws.
    """
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
            as on a device. For every other patch, the estimate for a single eye is used.
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
        overall: table with the scores over all pairs.
        by_shift: bin of the angle between source and target gaze -> table of the scores in this
            bin.
        by_head: head yaw, or bin of head yaws -> table of the scores for this yaw.
        against: baseline -> metric -> comparison of the redirected pictures with the baseline, for
            labelled source gazes. The dict is empty if there are too few subjects for intervals, or
            if labelled source gazes were not requested.
        absent: metric -> reason why the metric has no value.
        iris_residual: see `Evaluation`.
        median_flow_px: see `Evaluation`.
        against_estimated: same as `against`, but for estimated source gazes. The pictures that were
            redirected from labelled source gazes ("redirected") are an additional baseline.
        estimated_sources: accuracy of the estimated source gazes. `None` if only labels were used.
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
    """Compute all tables and confidence intervals.

    The intervals of the distances between sets of pictures take some seconds.
    """
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
    """Return name of the redirected pictures -> baseline -> metric -> comparison."""
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
    """Format a table with one line per method.

    A metric without values has no column.

    `CATALOGUE` contains the units of the metrics.
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
    """Format comparisons with one line per metric.

    A line contains the difference with its 95 % interval, the ratio with its interval, and the
    verdict.
    """
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
                f"{ours} minus {name} with 95 % interval over subjects; ratio of the means; "
                f"verdict\n{comparison_text(comparisons)}"
            )
    if any("fd_vgg" in found.get("copy", {}) for found in against.values()):
        parts.append(
            "the row copy has good values of FD-VGG and KD-VGG, because copies are real pictures"
        )
    if not any(against.values()):
        parts.append(f"no intervals: they need at least {MIN_SUBJECTS} subjects")
    return "\n\n".join(parts)


def _source_text(found: SourceSummary | None) -> list[str]:
    """Return the paragraph about the source gazes of the rows."""
    labelled, estimated = REDIRECTED["labelled"], REDIRECTED["estimated"]
    if found is None:
        return [f"{labelled} uses the labelled source gaze; a device does not have this label"]
    return [
        f"{estimated} uses the source gaze that the run's estimator estimates, as on a device; "
        f"the mean error of this estimate is {found.error_deg:.2f} degrees on {found.patches} "
        f"patches; for {found.both_eyes_share:.0%} of the patches, the estimate is the mean of "
        "both eyes"
    ]


def write_json(
    path: Path, summary: Summary | EstimatorScores, *, about: Mapping[str, Any], force: bool
) -> None:
    """Write the scores and the settings of the measurement to a JSON file.

    Args:
        path: file to write.
        summary: scores.
        about: settings of the measurement, for example the run and the data.
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

"""Which of two methods is ahead, metric by metric, with the interval that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mggr_tf.evaluation.bootstrap import (
    DRAWS,
    Interval,
    Resampled,
    difference,
    draw_subjects,
    is_ahead,
    ratio,
    resampled_mean,
)
from mggr_tf.evaluation.catalogue import CATALOGUE
from mggr_tf.evaluation.network_metrics import REAL
from mggr_tf.evaluation.scores import SET_METRICS, PairScores
from mggr_tf.evaluation.set_metrics import resampled_frechet, resampled_kernel

Verdict = Literal["ahead", "behind", "undecided"]

_RESAMPLED_NETWORKS = ("st_vgg",)
"""Inception's 2048 features would take an hour, and do not decide."""


@dataclass(frozen=True)
class Comparison:
    """One method against another in one metric.

    Attributes:
        difference: of ours minus theirs.
        ratio: ours by theirs; None where zero means nothing (PSNR, SSIM, sets) or is reached.
        verdict: `ahead` if the difference's 95 % interval excludes zero on the better
            side, `behind` if on the other.
    """

    difference: Interval
    ratio: Interval | None
    verdict: Verdict


def resample(
    scores: PairScores, methods: Sequence[str], *, draws: int = DRAWS
) -> dict[str, dict[str, Resampled]]:
    """All that can be compared, on the same resampled subjects: method -> metric.

    Raises:
        UsageError: fewer subjects than a bootstrap needs.
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
    """Compares two methods that were resampled together, in every metric of both."""
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

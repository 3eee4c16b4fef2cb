"""Every pair's scores, kept whole: tables and intervals are computed from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_tf.evaluation.metrics import CATALOGUE
from mggr_tf.evaluation.network_metrics import REAL
from mggr_tf.evaluation.set_metrics import set_metrics

SHIFT_BINS_DEG = (0.0, 15.0, 22.0, np.inf)
"""Small, middle and large; a method must hold in each."""

SET_METRICS = {
    "st_vgg": ("fd_vgg", "kd_vgg"),
    "keras_inception": ("fid_keras_inception", "kid_keras_inception"),
}
"""Network -> its Fréchet and its kernel distance."""

_HEAD_BINS_DEG = (-90.0, -20.0, -7.0, 7.0, 20.0, 90.0)
_FEW_HEADS = 15
"""A camera array has few head poses, each worth a table; free heads are binned."""

Table = dict[str, dict[str, float | None]]
"""Method -> metric -> value; None is a metric that could not be measured."""


@dataclass(frozen=True)
class PairScores:
    """What was measured on P pairs.

    Attributes:
        subject: [P] whose.
        shift_deg: [P] angle between source and target gaze.
        head_yaw_deg: [P].
        metrics: method -> metric -> [P].
        features: network (see `SET_METRICS`) -> method, and `REAL` -> [P, D].
        absent: metric -> why it was not measured.
    """

    subject: NDArray[np.str_]
    shift_deg: NDArray[np.float64]
    head_yaw_deg: NDArray[np.float32]
    metrics: dict[str, dict[str, NDArray[np.float64]]]
    features: dict[str, dict[str, NDArray[np.float32]]]
    absent: dict[str, str]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects, sorted."""
        return tuple(sorted({str(name) for name in self.subject}))


def overall(scores: PairScores) -> Table:
    """Over all pairs: means of what is measured on pairs, and the sets' distances."""
    table = pair_means(scores, np.ones(len(scores.subject), bool))
    for network, features in scores.features.items():
        made = {method: features[method] for method in table}
        frechet, kernel = SET_METRICS[network]
        for method, distances in set_metrics(made, features[REAL]).items():
            table[method] |= {frechet: distances.frechet, kernel: distances.kernel}
    return {m: _in_order(row | dict.fromkeys(scores.absent)) for m, row in table.items()}


def pair_means(scores: PairScores, where: NDArray[np.bool_]) -> Table:
    """Means over the pairs of a mask, [P].

    Without the distances of sets: those grow as sets shrink, so that a part's
    could not be read beside the whole's.
    """
    return {
        method: _in_order({name: float(np.mean(v[where])) for name, v in metrics.items()})
        for method, metrics in scores.metrics.items()
    }


def by_shift(scores: PairScores) -> dict[str, Table]:
    """By the angle between source and target gaze, in `SHIFT_BINS_DEG`."""
    return _by(scores, _bins(scores.shift_deg, SHIFT_BINS_DEG))


def by_head(scores: PairScores) -> dict[str, Table]:
    """By the head's yaw."""
    yaws = np.unique(scores.head_yaw_deg)
    if len(yaws) > _FEW_HEADS:
        return _by(scores, _bins(scores.head_yaw_deg, _HEAD_BINS_DEG))
    # Adding zero makes of a mirrored -0 the 0 that it is.
    return _by(scores, {f"{yaw + 0.0:+g} deg": scores.head_yaw_deg == yaw for yaw in yaws})


def _in_order(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: row[name] for name in CATALOGUE if name in row}


def _by(scores: PairScores, parts: Mapping[str, NDArray[np.bool_]]) -> dict[str, Table]:
    return {title: pair_means(scores, where) for title, where in parts.items() if where.any()}


def _bins(values: NDArray[np.floating], edges: tuple[float, ...]) -> dict[str, NDArray[np.bool_]]:
    return {
        f"{low:g}+ deg" if np.isinf(high) else f"{low:g} to {high:g} deg": (values >= low)
        & (values < high)
        for low, high in itertools.pairwise(edges)
    }

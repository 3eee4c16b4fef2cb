"""The protocol: pairs of subjects that nothing was trained on, scored by a judge.

`copy` is the source unchanged and `target` the real picture of the wanted gaze:
what no effort and what no method can beat, as far as the judge can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.angles import angular_error_deg
from mggr_edge.contract import Conventions
from mggr_edge.errors import UsageError
from mggr_edge.gazemap import draw_gazemap
from mggr_edge.network_io import estimator_inputs, gaze_from_network
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.metrics import gaze_error_deg, image_metrics
from mggr_tf.evaluation.redirect_pairs import Redirect, redirect_pairs

_SHIFT_BINS_DEG = (0.0, 8.0, 15.0, 22.0, 90.0)

METHODS = ("copy", "coarse", "redirected", "target")

Judge = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Scores:
    """What an evaluation found; `Table` is method -> metric -> mean over pairs.

    Attributes:
        pairs: how many.
        subjects: whose.
        overall: over all pairs.
        by_shift: by the angle between source and target gaze.
        by_head: by the head's yaw.
        iris_residual: mean |residual| inside the target's iris, [0, 1] range.
        median_flow_px: median length of the flow.
    """

    pairs: int
    subjects: tuple[str, ...]
    overall: Table
    by_shift: dict[str, Table]
    by_head: dict[str, Table]
    iris_residual: float
    median_flow_px: float


def evaluate_pairs(
    samples: EyeSamples,
    *,
    redirect: Redirect,
    judge: Judge,
    conventions: Conventions,
    limit: int,
    seed: int,
    advance: Callable[[int], None] = lambda n: None,
) -> Scores:
    """Redirects pairs of `samples` and scores them.

    Args:
        samples: of subjects that neither the redirector nor the judge was trained on.
        redirect: the redirector, inputs to outputs by name.
        judge: an estimator's inputs to its output in network units.
        limit: at most so many pairs, chosen by `seed`.
        advance: called with the number of pairs that are done.
    """
    pairs = all_pairs(samples, limit=limit, seed=seed)
    made = redirect_pairs(redirect, samples, pairs, conventions=conventions, advance=advance)
    source, target = pairs[:, 0], pairs[:, 1]
    real = samples.images[target].astype(np.float32) / 255
    pictures = {
        "copy": samples.images[source].astype(np.float32) / 255,
        "coarse": (made["coarse"] + 1) / 2,
        "redirected": (made["redirected"] + 1) / 2,
        "target": real,
    }
    wanted, head = samples.gaze_deg[target], samples.head_deg[source]
    per_pair = {
        name: {
            **image_metrics(picture, real),
            "gaze_error_deg": gaze_error_deg(_judged(judge, picture, head, conventions), wanted),
        }
        for name, picture in pictures.items()
    }
    shift = angular_error_deg(samples.gaze_deg[source], wanted)
    everything = np.ones(len(pairs), bool)
    return Scores(
        pairs=len(pairs),
        subjects=samples.subjects,
        overall=_means(per_pair, everything),
        by_shift={
            f"{low:g}-{high:g} deg": _means(per_pair, (shift >= low) & (shift < high))
            for low, high in itertools.pairwise(_SHIFT_BINS_DEG)
            if ((shift >= low) & (shift < high)).any()
        },
        by_head={
            f"{yaw:+g} deg": _means(per_pair, head[:, 1] == yaw) for yaw in np.unique(head[:, 1])
        }
        if len(np.unique(head[:, 1])) <= 15
        else _binned_by_head(per_pair, head[:, 1]),
        iris_residual=_iris_residual(made, wanted, conventions),
        median_flow_px=float(np.median(np.linalg.norm(made["flow"], axis=-1))),
    )


def refuse_seen_subjects(subjects: tuple[str, ...], trained: Mapping[str, tuple[str, ...]]) -> None:
    """A score on a subject that somebody was trained on is no score.

    Args:
        subjects: to be scored.
        trained: who ("the run", "the judge") -> its training subjects.

    Raises:
        UsageError: an overlap.
    """
    for who, theirs in trained.items():
        both = sorted(set(subjects) & set(theirs))
        if both:
            shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
            raise UsageError(
                f"{who} was trained on {len(both)} of these subjects ({shown}); "
                "name others with --subjects"
            )


def _judged(
    judge: Judge,
    pictures: NDArray[np.float32],
    head_deg: NDArray[np.float32],
    conventions: Conventions,
) -> NDArray[np.float32]:
    """[N, 2] degrees; pictures go through uint8, as real ones did."""
    images = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    parts = [
        np.asarray(judge(estimator_inputs(i, head_deg=h, conventions=conventions)))
        for i, h in zip(
            np.array_split(images, _chunks(len(images))),
            np.array_split(head_deg, _chunks(len(images))),
            strict=True,
        )
    ]
    return gaze_from_network(np.concatenate(parts), conventions)


def _chunks(count: int) -> int:
    return max(1, count // 128)


def _means(per_pair: Mapping[str, Mapping[str, NDArray]], where: NDArray[np.bool_]) -> Table:
    return {
        method: {name: float(np.mean(values[where])) for name, values in metrics.items()}
        for method, metrics in per_pair.items()
    }


def _binned_by_head(
    per_pair: Mapping[str, Mapping[str, NDArray]], yaw_deg: NDArray[np.float32]
) -> dict[str, Table]:
    edges = (-90, -20, -7, 7, 20, 90)
    return {
        f"{low} to {high} deg": _means(per_pair, (yaw_deg >= low) & (yaw_deg < high))
        for low, high in itertools.pairwise(edges)
        if ((yaw_deg >= low) & (yaw_deg < high)).any()
    }


def _iris_residual(
    made: Mapping[str, NDArray[np.float32]],
    wanted_deg: NDArray[np.float32],
    conventions: Conventions,
) -> float:
    total, weight = 0.0, 0.0
    for residual, gaze in zip(made["residual"], wanted_deg, strict=True):
        iris = draw_gazemap(gaze, size_px=conventions.patch_size, k=conventions.gazemap_k)[..., :1]
        total += float(np.sum(np.abs(residual) * iris)) / 2  # [-1, 1] to [0, 1]
        weight += 3 * float(np.sum(iris))
    return total / weight

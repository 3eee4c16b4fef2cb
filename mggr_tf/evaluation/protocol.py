"""The protocol: which people and pairs are scored, and who may be reported.

`copy` is the source unchanged and `target` the real picture of the wanted gaze:
what no effort and what no method can beat, as far as the judge can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network, redirector_inputs
from mggr_tf.data.columbia import LICENCE
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.subject_split import PARTS, read_split
from mggr_tf.evaluation.metrics import PairScores, Pictures, gaze_error_deg, picture_metrics
from mggr_tf.evaluation.network_metrics import NetworkMetrics, compare_by, features_of
from mggr_tf.evaluation.source_gaze import SourceEstimates, SourceGaze

_BATCH = 64

Redirect = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]


def pair_inputs(
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    conventions: Conventions,
    *,
    source_deg: NDArray[np.float32] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The redirector's inputs for pairs of patches, through the device's own preprocessing.

    Args:
        pairs: [P, 2] indices, (source, target).
        source_deg: [N, 2] gazes that redirections start at, of every sample; None takes the
            labels, which a device does not have.
    """
    source, target = pairs[:, 0], pairs[:, 1]
    return redirector_inputs(
        samples.images[source],
        source_deg=(samples.gaze_deg if source_deg is None else source_deg)[source],
        target_deg=samples.gaze_deg[target],
        head_deg=samples.head_deg[source],
        conventions=conventions,
    )


def redirect_pairs(
    redirect: Redirect,
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    *,
    conventions: Conventions,
    source_deg: NDArray[np.float32] | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, NDArray[np.float32]]:
    """Redirects every pair's source to its target's gaze, in batches.

    Args:
        source_deg: see `pair_inputs`.

    Returns:
        the redirector's outputs, [P, ...] each.
    """
    parts: list[Mapping[str, NDArray[np.float32]]] = []
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        made = redirect(pair_inputs(samples, some, conventions, source_deg=source_deg))
        parts.append({name: np.asarray(value) for name, value in made.items()})
        advance(len(some))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


Judge = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]

REDIRECTED: dict[SourceGaze, str] = {
    "labelled": "redirected",
    "estimated": "redirected_estimated",
}
"""Source gaze -> the method's name in tables and files."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation of one run found.

    Attributes:
        scores: of `copy`, `coarse`, a method of `REDIRECTED` for each source gaze, and `target`.
            `coarse` starts at the labelled source gaze where that was asked for.
        iris_residual: mean |residual| inside the target's iris, [0, 1] range; like
            `median_flow_px` with the labelled source gaze where that was asked for.
        median_flow_px: median length of the flow.
        estimates: of the sources; None where only labels were used.
    """

    scores: PairScores
    iris_residual: float
    median_flow_px: float
    estimates: SourceEstimates | None = None


def evaluate_pairs(
    samples: EyeSamples,
    *,
    redirect: Redirect,
    judge: Judge,
    network_metrics: NetworkMetrics,
    conventions: Conventions,
    limit: int,
    seed: int,
    estimates: SourceEstimates | None = None,
    labelled: bool = True,
    progress: Progress = no_progress,
) -> Evaluation:
    """Redirects pairs of `samples` and scores them.

    Args:
        samples: of subjects that neither the redirector nor the judge was trained on.
        redirect: the redirector, inputs to outputs by name.
        judge: an estimator's inputs to its output in network units.
        network_metrics: networks that compare pictures.
        limit: at most so many pairs, chosen by `seed`.
        estimates: of the samples' gazes, to redirect from; None redirects from no estimate.
        labelled: redirect from the labelled source gazes.
        progress: shown the pairs that are done.

    Raises:
        ValueError: there is no source gaze to redirect from.
    """
    starts: dict[SourceGaze, NDArray[np.float32]] = {}
    if labelled:
        starts["labelled"] = samples.gaze_deg
    if estimates is not None:
        starts["estimated"] = estimates.gaze_deg
    if not starts:
        raise ValueError("name estimates, or redirect from the labels")
    pairs = all_pairs(samples, limit=limit, seed=seed)
    outputs: dict[SourceGaze, dict[str, NDArray[np.float32]]] = {}
    with progress("redirecting", len(pairs) * len(starts)) as advance:
        for source, source_deg in starts.items():
            outputs[source] = redirect_pairs(
                redirect,
                samples,
                pairs,
                conventions=conventions,
                source_deg=source_deg,
                advance=advance,
            )
    made = next(iter(outputs.values()))
    redirected = {REDIRECTED[one]: (out["redirected"] + 1) / 2 for one, out in outputs.items()}
    scores = score_pictures(
        {"coarse": (made["coarse"] + 1) / 2, **redirected},
        samples,
        pairs,
        judge=judge,
        network_metrics=network_metrics,
        conventions=conventions,
        progress=progress,
    )
    return Evaluation(
        scores,
        iris_residual=_iris_residual(made, samples.gaze_deg[pairs[:, 1]], conventions),
        median_flow_px=float(np.median(np.linalg.norm(made["flow"], axis=-1))),
        estimates=estimates,
    )


def score_pictures(
    pictures: Mapping[str, Pictures],
    samples: EyeSamples,
    pairs: NDArray[np.int64],
    *,
    judge: Judge,
    network_metrics: NetworkMetrics,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> PairScores:
    """Scores what several methods made of the same pairs.

    `copy` stands before them and `target` behind them.

    Args:
        pictures: method -> [P, H, W, 3] float32 in [0, 1].
        pairs: [P, 2] indices into `samples`, (source, target).
        judge, network_metrics, progress: see `evaluate_pairs`.
    """
    at_source, at_target = pairs[:, 0], pairs[:, 1]
    source, real = (samples.images[i].astype(np.float32) / 255 for i in (at_source, at_target))
    wanted_deg, head_deg = samples.gaze_deg[at_target], samples.head_deg[at_source]
    methods = {"copy": source, **pictures, "target": real}
    metrics = picture_metrics(
        methods,
        real=real,
        source=source,
        source_deg=samples.gaze_deg[at_source],
        target_deg=wanted_deg,
        conventions=conventions,
    )
    for name, picture in methods.items():
        seen_deg = _judged(judge, picture, head_deg, conventions)
        metrics[name]["gaze_error_deg"] = gaze_error_deg(seen_deg, wanted_deg)
    features = {}
    if network_metrics.st_lpips is not None:
        learned = compare_by(network_metrics.st_lpips, methods, real, progress=progress)
        features["st_vgg"] = learned.pooled
        for name, distance in learned.distance.items():
            metrics[name]["st_lpips"] = distance
    if network_metrics.lpips is not None:
        for name, distance in compare_by(
            network_metrics.lpips, methods, real, progress=progress
        ).distance.items():
            metrics[name]["lpips"] = distance
    if network_metrics.inception is not None:
        features["keras_inception"] = features_of(
            network_metrics.inception, methods, real, progress=progress
        )
    return PairScores(
        subject=samples.subject[at_source],
        shift_deg=angular_error_deg(samples.gaze_deg[at_source], wanted_deg),
        head_yaw_deg=head_deg[:, 1],
        metrics=metrics,
        features=features,
        absent=network_metrics.absent,
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


_SPLIT = "columbia"
_OTHERS = "in no part"


def roles_of(samples: EyeSamples) -> dict[str, int]:
    """Number of subjects in each part of the packaged Columbia split that has any.

    Returns:
        part -> subjects; empty for data that is not the Columbia Gaze Data Set, whose people
        carry other people's names.
    """
    if samples.licence != LICENCE:
        return {}
    split = read_split(_SPLIT)
    part_of = {name: part for part in PARTS for name in split.part(part)}
    found = [part_of.get(name, _OTHERS) for name in samples.subjects]
    return {part: found.count(part) for part in (*PARTS, _OTHERS) if part in found}


def roles_text(roles: dict[str, int]) -> str:
    """One line that says what scores of these people may be used for; empty without roles."""
    if not roles:
        return ""
    counts = ", ".join(f"{count} {part}" for part, count in roles.items())
    use = (
        "includes report subjects: publish these scores, choose nothing by them"
        if "report" in roles
        else "no report subject"
    )
    return f"subjects by split {_SPLIT}: {counts}; {use}"

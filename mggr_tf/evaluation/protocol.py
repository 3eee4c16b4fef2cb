"""Redirect pairs of eyes, score the results, and check the subjects to score.

A pair consists of two patches of one person: the source and the target. The judge is a gaze
estimator that only scores redirected pictures.

Two baselines are scored in addition to the methods. `copy` is the unchanged source picture. The
scores of `copy` show the result without redirection. `target` is the real picture of the requested
gaze. The scores of `target` are the best possible scores. The gaze error of `target` is the error
of the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import estimator_inputs, gaze_from_network, redirector_inputs
from mggr_tf.data.columbia import LICENCE
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.subject_split import PARTS, read_split
from mggr_tf.evaluation.metrics import PairScores, Pictures, gaze_error_deg, picture_metrics
from mggr_tf.evaluation.network_metrics import NetworkMetrics, compare_by, features_of
from mggr_tf.evaluation.registration import align
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
    """Return the redirector's inputs for pairs of patches.

    The preprocessing is the same as on a device.

    Args:
        samples: N patches.
        pairs: [P, 2] indices into `samples`, (source, target).
        conventions: scales of the redirector's inputs.
        source_deg: [N, 2] source gaze of every sample, (pitch, yaw) in degrees. `None` uses the
            labels. A device does not have labels.
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
    """Redirect the source of every pair to the gaze of its target, in batches.

    Args:
        redirect: redirector. The function maps inputs by name to outputs by name.
        samples: N patches.
        pairs: [P, 2] indices into `samples`, (source, target).
        conventions: scales of the redirector's inputs.
        source_deg: source gazes (see `pair_inputs`).
        advance: callback for the progress bar. `advance(n)` is called after each batch of n pairs.

    Returns:
        the outputs of the redirector by name. Each output has the shape [P, ...].
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
"""Kind of source gaze -> name of the redirected pictures in tables and files."""


@dataclass(frozen=True)
class Evaluation:
    """Results of the evaluation of one run.

    If labelled source gazes were requested, `coarse`, `iris_residual` and `median_flow_px` use
    labelled source gazes. Otherwise these values use estimated source gazes.

    Attributes:
        scores: scores of `copy`, of `coarse`, of the redirected pictures for each kind of source
            gaze (see `REDIRECTED`), and of `target`.
        iris_residual: mean absolute change by the fine branch inside the iris of the target, for
            pixel values in [0, 1].
        median_flow_px: median length of the flow in pixels.
        estimates: estimated source gazes. `None` if only labels were used.
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
    aligned: bool = False,
    progress: Progress = no_progress,
) -> Evaluation:
    """Redirect pairs of samples and score the results.

    Args:
        samples: patches of subjects that neither the redirector nor the judge was trained on.
        redirect: redirector. The function maps inputs by name to outputs by name.
        judge: judge as a function from the inputs of an estimator to gazes in network units.
        network_metrics: networks that compare pictures.
        conventions: scales of the networks' inputs and outputs.
        limit: maximum number of pairs.
        seed: seed for the random selection of pairs.
        estimates: estimated gazes of the samples. With `None`, redirection from estimated gazes is
            skipped.
        labelled: whether to redirect from the labelled source gazes.
        aligned: whether to align each target with its source before the comparison
            (`registration`). Pairs that cannot be aligned are not scored.
        progress: reports the number of processed pairs.

    Raises:
        ValueError: `estimates` is `None`, and `labelled` is false.
        DataError: `aligned` is true, and no pair can be aligned.
    """
    starts: dict[SourceGaze, NDArray[np.float32]] = {}
    if labelled:
        starts["labelled"] = samples.gaze_deg
    if estimates is not None:
        starts["estimated"] = estimates.gaze_deg
    if not starts:
        raise ValueError("expected estimates, or labelled=True")
    pairs = all_pairs(samples, limit=limit, seed=seed)
    real = samples.images[pairs[:, 1]]
    if aligned:
        pairs, real = _aligned(samples, pairs, progress=progress)
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
        real=real,
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
    real: NDArray[np.uint8] | None = None,
    judge: Judge,
    network_metrics: NetworkMetrics,
    conventions: Conventions,
    progress: Progress = no_progress,
) -> PairScores:
    """Score the redirected pictures of several methods on the same pairs.

    In the result, `copy` comes before the methods, and `target` comes after them.

    Args:
        pictures: method -> redirected pictures [P, H, W, 3] float32 in [0, 1].
        samples: patches.
        pairs: [P, 2] indices into `samples`, (source, target).
        real: [P, H, W, 3] pictures of the target gaze. `None` uses the targets in `samples`.
        judge: judge (see `evaluate_pairs`).
        network_metrics: networks that compare pictures.
        conventions: scales of the networks' inputs and outputs.
        progress: reports the number of processed pairs.
    """
    at_source, at_target = pairs[:, 0], pairs[:, 1]
    source = samples.images[at_source].astype(np.float32) / 255
    target = (samples.images[at_target] if real is None else real).astype(np.float32) / 255
    wanted_deg, head_deg = samples.gaze_deg[at_target], samples.head_deg[at_source]
    methods = {"copy": source, **pictures, "target": target}
    metrics = picture_metrics(
        methods,
        real=target,
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
        learned = compare_by(network_metrics.st_lpips, methods, target, progress=progress)
        features["st_vgg"] = learned.pooled
        for name, distance in learned.distance.items():
            metrics[name]["st_lpips"] = distance
    if network_metrics.lpips is not None:
        for name, distance in compare_by(
            network_metrics.lpips, methods, target, progress=progress
        ).distance.items():
            metrics[name]["lpips"] = distance
    if network_metrics.inception is not None:
        features["keras_inception"] = features_of(
            network_metrics.inception, methods, target, progress=progress
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
    """Raise an error if a subject to score is a training subject.

    Args:
        subjects: subjects to score.
        trained: description of a run for the message -> training subjects of the run. The
            description is for example "the run" or "the judge".

    Raises:
        UsageError: a run was trained on a subject to score.
    """
    for who, theirs in trained.items():
        both = sorted(set(subjects) & set(theirs))
        if both:
            shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
            raise UsageError(
                f"{who} was trained on {len(both)} of these subjects ({shown}); "
                "select other subjects with --subjects",
                code="subjects-seen",
                trained=who,
                subjects=", ".join(both),
            )


def _aligned(
    samples: EyeSamples, pairs: NDArray[np.int64], *, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the pairs whose target can be aligned with its source, and the aligned targets."""
    with progress("aligning", len(pairs)) as advance:
        found = align(samples.images, pairs, advance=advance)
    if not found.known.any():
        raise DataError(
            f"{samples.source}: none of the {len(pairs)} targets can be aligned with its source",
            code="not-aligned",
            source=samples.source,
            pairs=len(pairs),
        )
    return pairs[found.known], found.images[found.known]


def _judged(
    judge: Judge,
    pictures: NDArray[np.float32],
    head_deg: NDArray[np.float32],
    conventions: Conventions,
) -> NDArray[np.float32]:
    """Return the gazes that the judge estimates for pictures, [N, 2] in degrees.

    The pictures are first rounded to uint8, because the real pictures are uint8, too.
    """
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
    for residual, gaze in zip(made["redirected"] - made["coarse"], wanted_deg, strict=True):
        iris = draw_gazemap(gaze, size_px=conventions.patch_size, k=conventions.gazemap_k)[..., :1]
        total += float(np.sum(np.abs(residual) * iris)) / 2  # [-1, 1] to [0, 1]
        weight += 3 * float(np.sum(iris))
    return total / weight


_SPLIT = "columbia"
_OTHERS = "in no part"


def roles_of(samples: EyeSamples) -> dict[str, int]:
    """Return the number of subjects in each part of the packaged Columbia split.

    Returns:
        part -> number of subjects, without empty parts. The result is empty for all data sets
        except the Columbia Gaze Data Set. In other data sets, the same names belong to other
        people.
    """
    if samples.licence != LICENCE:
        return {}
    split = read_split(_SPLIT)
    part_of = {name: part for part in PARTS for name in split.part(part)}
    found = [part_of.get(name, _OTHERS) for name in samples.subjects]
    return {part: found.count(part) for part in (*PARTS, _OTHERS) if part in found}


def roles_text(roles: dict[str, int]) -> str:
    """Format the roles as one line of text.

    The role of a subject is its part in the split. The text also contains the permitted use of the
    scores. The text is empty if there are no roles.
    """
    if not roles:
        return ""
    counts = ", ".join(f"{count} {part}" for part, count in roles.items())
    use = (
        "includes report subjects: you may publish these scores, but do not use them to select "
        "models"
        if "report" in roles
        else "no report subjects"
    )
    return f"subjects by split {_SPLIT}: {counts}; {use}"

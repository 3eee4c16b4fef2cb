"""Score a run in one of three ways.

`score_run` scores the redirected pictures with a judge. `score_run_estimator` scores the gaze
estimator. `score_still_eyes` measures the movement of irises that should not move. A judge is a
gaze estimator that only scores redirected pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mggr_edge.common.progress import Progress
from mggr_edge.errors import UsageError
from mggr_edge.models.bundle import Bundle
from mggr_edge.vision.iris import IrisFinder
from mggr_tf.data.names import present_names
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples
from mggr_tf.evaluation.estimator_scores import EstimatorScores, score_estimator
from mggr_tf.evaluation.eye_motion import StillEyes, measure_still_eyes
from mggr_tf.evaluation.network_metrics import NetworkMetrics
from mggr_tf.evaluation.protocol import (
    Evaluation,
    evaluate_pairs,
    refuse_seen_subjects,
    roles_of,
    roles_text,
)
from mggr_tf.evaluation.source_gaze import SOURCES, SourceEstimates, SourceGaze, estimate_sources
from mggr_tf.evaluation.state_scores import score_state, state_eyes
from mggr_tf.evaluation.trained import (
    load_estimator,
    load_estimator_outputs,
    load_judge,
    load_redirector,
    redirect_with,
)
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run
from mggr_tf.runs.provenance import (
    refuse_unknown_seeds,
    trained_on,
    warn_of_unknown_donors,
)

PAIRS_SEED = 20200403
"""Seed for the random selection of pairs. The seed is fixed, so all compared runs use the same
pairs."""


def score_run(
    run_path: str | Path,
    judge_path: Path,
    *,
    data: str,
    subjects: tuple[str, ...] | None,
    limit: int,
    network_metrics: NetworkMetrics,
    source: SourceGaze | None = None,
    aligned: bool = False,
    progress: Progress,
    notify: Callable[[str], None],
) -> tuple[Evaluation, dict[str, Any]]:
    """Score the redirected pictures of a run with a judge.

    Args:
        run_path: run folder, or name of a packaged run.
        judge_path: run folder with the judge. The run and the judge may be in the same folder.
        data: folder of patches, or `synthetic`.
        subjects: subjects to score. `None` means all subjects that neither the run nor the judge
            was trained on.
        limit: maximum number of pairs.
        network_metrics: networks that compare pictures.
        source: kind of source gaze. With `None`, both labelled and estimated source gazes are used.
            A run without a gaze estimator then uses only labelled source gazes.
        aligned: see `evaluate_pairs`.
        progress: reports the progress of the steps.
        notify: called with messages for the user.

    Returns:
        the scores, and the settings of the measurement to save with the scores.

    Raises:
        RunError: the run has no redirector, or the run at `judge_path` has no judge. This error is
            also raised if estimated source gazes are requested, and the run has no estimator.
        UsageError: a named subject is a training subject, or all subjects are training subjects.
    """
    run, judge_run = open_run(run_path), RunFolder.open(judge_path)
    judge = load_judge(judge_run)
    redirect = redirect_with(load_redirector(run))
    runs = {"the run": run, "the judge": judge_run}
    sources = _sources(run, source, notify=notify)
    samples = _unseen(data, run, subjects, runs, progress=progress, notify=notify)
    roles = _shown_roles(samples, notify=notify)
    estimates = _estimates(run, samples, progress=progress) if "estimated" in sources else None
    evaluation = evaluate_pairs(
        samples,
        redirect=redirect,
        judge=judge,
        network_metrics=network_metrics,
        conventions=run.config.conventions,
        limit=limit,
        seed=PAIRS_SEED,
        estimates=estimates,
        labelled="labelled" in sources,
        aligned=aligned,
        progress=progress,
    )
    about = {
        "run": str(run_path),
        "judge": str(judge_path),
        "data": data,
        "roles": roles,
        "sources": list(sources),
        "aligned": aligned,
        "config": run.config.name,
        "stages": {name: stage.done for name, stage in run.record.stages.items()},
        "versions": run.record.versions,
    }
    return evaluation, about


def score_run_estimator(
    run_path: str | Path,
    *,
    data: str,
    subjects: tuple[str, ...] | None,
    bundle: str | None = None,
    progress: Progress,
    notify: Callable[[str], None],
) -> tuple[EstimatorScores, dict[str, Any]]:
    """Score a run's gaze estimator. No judge is needed.

    If the estimator predicts the state of an eye, the state is scored, too. The state is always
    scored on synthetic eyes.

    Args:
        run_path: run folder, or name of a packaged run.
        data: folder of patches, or `synthetic`.
        subjects: subjects to score. `None` means all subjects that the run was not trained on.
        bundle: exported bundle of the run. The estimator in the bundle is scored. With `None`, the
            run's Keras model is scored.
        progress: reports the progress of the steps.
        notify: called with messages for the user.

    Returns:
        the scores, and the settings of the measurement to save with the scores.

    Raises:
        RunError: the run has no estimator.
        BundleError: there is no such bundle.
        UsageError: a named subject is a training subject, or all subjects are training subjects.
    """
    run = open_run(run_path)
    with ExitStack() as held:
        if bundle is None:
            estimator = load_estimator_outputs(run)
        else:
            estimator = held.enter_context(Bundle.open(bundle)).model("estimator")
        samples = _unseen(data, run, subjects, {"the run": run}, progress=progress, notify=notify)
        roles = _shown_roles(samples, notify=notify)
        conventions = run.config.conventions
        scores = score_estimator(
            lambda inputs: estimator(inputs)["gaze"],
            samples,
            conventions=conventions,
            progress=progress,
        )
        if run.config.models.estimator_state:
            eyes = state_eyes(run.config.synthetic.seed, progress=progress)
            photographs = None if data == SYNTHETIC else samples
            states = score_state(
                estimator,
                eyes,
                open_eyes=photographs,
                conventions=conventions,
                progress=progress,
            )
            scores = replace(scores, state=states)
    return scores, _about(run_path, run, data, roles, bundle)


def score_still_eyes(
    run_path: str | Path,
    *,
    data: str,
    subjects: tuple[str, ...] | None,
    bundle: str | None = None,
    progress: Progress,
    notify: Callable[[str], None],
) -> tuple[StillEyes, dict[str, Any]]:
    """Measure the movement of irises that should not move.

    See `eye_motion.measure_still_eyes`.

    Every eye is redirected from its estimated gaze to its labelled gaze. If the data has both eyes
    of a photograph, the estimate is the mean over both eyes.

    Args:
        run_path: run folder, or name of a packaged run.
        data: folder of patches, or `synthetic`.
        subjects: subjects to score. `None` means all subjects that the run was not trained on.
        bundle: exported bundle of the run. The models in the bundle are used. With `None`, the
            run's Keras models are used.
        progress: reports the progress of the steps.
        notify: called with messages for the user.

    Returns:
        the movements, and the settings of the measurement to save with the movements.

    Raises:
        RunError: the run has no redirector or no estimator.
        BundleError: there is no such bundle.
        UsageError: a named subject is a training subject, or all subjects are training subjects.
    """
    run = open_run(run_path)
    conventions = run.config.conventions
    with ExitStack() as held:
        if bundle is None:
            estimator, redirect = load_estimator_outputs(run), redirect_with(load_redirector(run))
        else:
            opened = held.enter_context(Bundle.open(bundle))
            estimator, redirect = opened.model("estimator"), opened.model("redirector")
        finder = IrisFinder(held.enter_context(Bundle.open("default")).model("iris"))
        samples = _unseen(data, run, subjects, {"the run": run}, progress=progress, notify=notify)
        roles = _shown_roles(samples, notify=notify)
        estimates = estimate_sources(
            lambda inputs: estimator(inputs)["gaze"],
            samples,
            conventions=conventions,
            progress=progress,
        )
        found = measure_still_eyes(
            redirect,
            samples,
            source_deg=estimates.gaze_deg,
            finder=finder,
            conventions=conventions,
            progress=progress,
        )
    return found, _about(run_path, run, data, roles, bundle)


def _about(
    run_path: str | Path, run: RunFolder, data: str, roles: dict[str, int], bundle: str | None
) -> dict[str, Any]:
    """Return the settings of the measurement, which are saved with the scores."""
    return {
        "run": str(run_path),
        "bundle": bundle,
        "data": data,
        "roles": roles,
        "config": run.config.name,
        "stages": {name: stage.done for name, stage in run.record.stages.items()},
        "versions": run.record.versions,
    }


def _shown_roles(samples: EyeSamples, *, notify: Callable[[str], None]) -> dict[str, int]:
    roles = roles_of(samples)
    if text := roles_text(roles):
        notify(text)
    return roles


def _sources(
    run: RunFolder, asked: SourceGaze | None, *, notify: Callable[[str], None]
) -> tuple[SourceGaze, ...]:
    """Return the kinds of source gazes to redirect from."""
    if asked is not None:
        return (asked,)
    if run.has_weights("estimator"):
        return SOURCES
    notify(f"{run.path} has no gaze estimator, so only labelled source gazes are used")
    return ("labelled",)


def _estimates(run: RunFolder, samples: EyeSamples, *, progress: Progress) -> SourceEstimates:
    return estimate_sources(
        load_estimator(run), samples, conventions=run.config.conventions, progress=progress
    )


def _unseen(
    data: str,
    run: RunFolder,
    subjects: tuple[str, ...] | None,
    runs: Mapping[str, RunFolder],
    *,
    progress: Progress,
    notify: Callable[[str], None],
) -> EyeSamples:
    """Return samples of subjects that no run was trained on.

    This applies to all runs in `runs` and to their donors. A donor is a run whose weights another
    run started from.

    Raises:
        UsageError: a named subject is a training subject, or all subjects are training subjects.
    """
    trained = trained_on(runs)
    if subjects is not None:
        subjects = present_names(subjects, data, seed=run.config.synthetic.seed)
        refuse_seen_subjects(subjects, trained)
    samples = open_samples(
        data, config=run.config, subjects=subjects, progress=progress, notify=notify
    )
    refuse_unknown_seeds(samples.subjects, samples.licence, runs, source=data)
    warn_of_unknown_donors(runs, notify)
    if subjects is not None:
        return samples
    unseen = set(samples.subjects) - set().union(*trained.values())
    if not unseen:
        raise UsageError(
            f"all subjects of {data} are training subjects of {' or '.join(trained)}; score other "
            "subjects",
            code="only-seen-subjects",
            data=data,
            trained=", ".join(trained),
        )
    return samples.of_subjects(unseen)

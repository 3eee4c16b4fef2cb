"""Scores a run with the judge of another (or the same) run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mggr_edge.errors import RunError, UsageError
from mggr_edge.progress import Progress
from mggr_tf.data.source import open_samples
from mggr_tf.evaluation.protocol import Evaluation, evaluate_pairs, refuse_seen_subjects
from mggr_tf.evaluation.yardsticks import Yardsticks
from mggr_tf.models.networks import Networks, load_weights
from mggr_tf.training.default_run import open_run
from mggr_tf.training.run_folder import RunFolder

PAIRS_SEED = 20200403
"""Of the choice of pairs: one protocol for every run that is compared."""


def score_run(
    run_path: str | Path,
    judge_path: Path,
    *,
    data: str,
    subjects: tuple[str, ...] | None,
    limit: int,
    yardsticks: Yardsticks,
    progress: Progress,
    say: Callable[[str], None],
) -> tuple[Evaluation, dict[str, Any]]:
    """Scores a run.

    Returns:
        the scores, and what they were measured with, for the record.

    Raises:
        RunError: the run has no redirector, or the judge's run no judge.
        UsageError: nothing was left that both never saw, or named subjects were seen.
    """
    run, judge_run = open_run(run_path), RunFolder.open(judge_path)
    if not judge_run.has_weights("judge"):
        raise RunError(f"{judge_path} has no judge; run: mggr-tf train --stage judge")
    networks = load_redirector(run)
    trained = {"the run": run.record.data.subjects, "the judge": judge_run.record.data.subjects}
    if subjects is not None:
        refuse_seen_subjects(subjects, trained)
    samples = open_samples(data, config=run.config, subjects=subjects, progress=progress, say=say)
    if subjects is None:
        unseen = set(samples.subjects) - set().union(*trained.values())
        if not unseen:
            raise UsageError(f"{data} has no subject that both the run and the judge never saw")
        samples = samples.of_subjects(unseen)
    judge_networks = Networks(judge_run.config)
    load_weights(judge_networks.judge, judge_run.weights_file("judge"))

    def redirect(inputs: Any) -> dict[str, Any]:
        made = networks.averaged.joined(dict(inputs), training=False)
        return {name: np.asarray(value) for name, value in made.items()}

    evaluation = evaluate_pairs(
        samples,
        redirect=redirect,
        judge=lambda inputs: np.asarray(judge_networks.judge(dict(inputs), training=False)),
        yardsticks=yardsticks,
        conventions=run.config.conventions,
        limit=limit,
        seed=PAIRS_SEED,
        progress=progress,
    )
    about = {
        "run": str(run_path),
        "judge": str(judge_path),
        "data": data,
        "config": run.config.name,
        "stages": {name: stage.done for name, stage in run.record.stages.items()},
        "versions": run.record.versions,
    }
    return evaluation, about


def load_redirector(run: RunFolder) -> Networks:
    """A run's networks with the weights that it shows, scores and exports.

    A run that was never trained past its coarse stage has an untrained fine
    branch, whose residual is zero. A method that trains without an estimator
    leaves an untrained one here.

    Raises:
        RunError: no stage that ends with a redirector is complete.
    """
    if not run.can_redirect():
        last = run.config.recipe[-1]
        raise RunError(
            f"{run.path} holds no trained redirector; run: "
            f"mggr-tf train --stage {last} --out {run.path} --resume"
        )
    networks = Networks(run.config)
    if run.has_weights("estimator"):
        load_weights(networks.estimator, run.weights_file("estimator"))
    for name in run.config.models.parts:
        if run.has_weights(name):
            load_weights(networks.averaged.part(name), run.weights_file(name))
    return networks


def load_travelling(run: RunFolder) -> Networks:
    """The same for a device, which must find out by itself where an eye looks.

    Raises:
        RunError: see `load_redirector`; also when the run has no estimator.
    """
    networks = load_redirector(run)
    if not run.has_weights("estimator"):
        raise RunError(
            f"{run.path} has no gaze estimator, which a device needs; run: "
            f"mggr-tf train --stage estimator --out {run.path} --resume"
        )
    return networks

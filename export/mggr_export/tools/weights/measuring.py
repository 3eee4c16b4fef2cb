"""What the default weights do on drawn people that neither they nor the judge ever saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress
from mggr_edge.geometry.angles import angular_error_deg
from mggr_tf.data.drawn_people import drawn_person
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples
from mggr_tf.drawn_eyes import Subject, draw_subject
from mggr_tf.evaluation.network_metrics import open_network_metrics
from mggr_tf.evaluation.protocol import REDIRECTED, refuse_seen_subjects, score_pictures
from mggr_tf.evaluation.redirect_pairs import redirect_pairs
from mggr_tf.evaluation.scores import PairScores
from mggr_tf.evaluation.source_gaze import SourceGaze, estimate_sources
from mggr_tf.evaluation.trained import load_judge, load_travelling, redirect_with
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import trained_on

Groups = dict[str, dict[str, NDArray[np.bool_]]]
"""What people differ by -> kind -> [P] which pairs."""

SEED = 7_000
PEOPLE = 240
PAIRS = 3000

_LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Measured:
    """Scores of every pair, and who was in it.

    Attributes:
        scores: of `copy`, `redirected`, `redirected_estimated` and `target`.
        estimator_error_deg: [P] of the estimator on the sources.
        groups: see `Groups`.
    """

    scores: PairScores
    estimator_error_deg: NDArray[np.float64]
    groups: Groups


def measure(
    folder: Path, *, judge: RunFolder, progress: Progress, say: Callable[[str], None]
) -> Measured:
    """Redirects pairs of new people and scores them.

    Args:
        folder: holds the lean run, as `run/`.
        judge: a run with a judge of other people.
    """
    run = RunFolder.open(folder / "run")
    config = replace(
        run.config, synthetic=replace(run.config.synthetic, seed=SEED, subjects=PEOPLE)
    )
    samples = open_samples(SYNTHETIC, config=config, subjects=None, progress=progress, say=say)
    refuse_seen_subjects(samples.subjects, trained_on({"the run": run, "the judge": judge}))
    networks = load_travelling(run)
    conventions = run.config.conventions

    pairs = all_pairs(samples, limit=PAIRS, seed=SEED)
    estimates = estimate_sources(
        lambda inputs: networks.estimator.predict(inputs, verbose=0)["gaze"],
        samples,
        conventions=conventions,
        progress=progress,
    )
    starts: dict[SourceGaze, NDArray[np.float32]] = {
        "labelled": samples.gaze_deg,
        "estimated": estimates.gaze_deg,
    }
    pictures = {}
    with progress("redirecting", len(pairs) * len(starts)) as advance:
        for start, source_deg in starts.items():
            made = redirect_pairs(
                redirect_with(networks),
                samples,
                pairs,
                conventions=conventions,
                source_deg=source_deg,
                advance=advance,
            )
            pictures[REDIRECTED[start]] = (made["redirected"] + 1) / 2
    scores = score_pictures(
        pictures,
        samples,
        pairs,
        judge=load_judge(judge),
        network_metrics=open_network_metrics(),
        conventions=conventions,
        progress=progress,
    )
    source = pairs[:, 0]
    return Measured(
        scores,
        angular_error_deg(estimates.gaze_deg[source], samples.gaze_deg[source]),
        _groups(samples, source, scores),
    )


def _index(name: str) -> int:
    person = drawn_person(name)
    assert person is not None, name
    return person.index


def _groups(samples: EyeSamples, rows: NDArray[np.int64], scores: PairScores) -> Groups:
    people = {name: draw_subject([SEED, _index(name)]) for name in samples.subjects}

    def of_people(trait: Callable[[Subject], bool]) -> NDArray[np.bool_]:
        return np.array([trait(people[str(name)]) for name in samples.subject[rows]])

    def iris(person: Subject) -> float:
        return float(_LUMA @ np.asarray(person.eyeball.iris))

    yaw, pitch = (np.abs(samples.head_deg[rows, axis]) for axis in (1, 0))
    return {
        "skin": {
            "light": of_people(lambda p: p.skin.melanin < 0.6),
            "medium": of_people(lambda p: 0.6 <= p.skin.melanin < 1.2),
            "dark": of_people(lambda p: p.skin.melanin >= 1.2),
        },
        "iris": {
            "dark": of_people(lambda p: iris(p) < 0.015),
            "brown": of_people(lambda p: 0.015 <= iris(p) < 0.045),
            "light": of_people(lambda p: iris(p) >= 0.045),
        },
        "glasses": {
            "none": of_people(lambda p: p.glasses is None),
            "worn": of_people(lambda p: p.glasses is not None),
        },
        "head yaw": {
            "to 10 degrees": yaw < 10,
            "10 to 20": (yaw >= 10) & (yaw < 20),
            "above 20": yaw >= 20,
        },
        "head pitch": {"to 7 degrees": pitch < 7, "above 7": pitch >= 7},
        "shift": {
            "to 15 degrees": scores.shift_deg < 15,
            "15 to 22": (scores.shift_deg >= 15) & (scores.shift_deg < 22),
            "above 22": scores.shift_deg >= 22,
        },
    }

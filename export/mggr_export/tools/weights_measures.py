"""Metrics of the default weights, and the model card.

The metrics are measured on people that neither the weights nor the judge were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress
from mggr_edge.geometry.angles import angular_error_deg
from mggr_edge.models.contract import Artifact, Contract
from mggr_tf.data.names import drawn_person
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import SYNTHETIC, open_samples
from mggr_tf.drawn_eyes import Subject, draw_subject
from mggr_tf.drawn_eyes.samples import (
    HEAD_PITCH_RANGE_DEG,
    HEAD_YAW_RANGE_DEG,
    PITCH_RANGE_DEG,
    YAW_RANGE_DEG,
)
from mggr_tf.evaluation.metrics import PairScores
from mggr_tf.evaluation.network_metrics import open_network_metrics
from mggr_tf.evaluation.protocol import (
    REDIRECTED,
    redirect_pairs,
    refuse_seen_subjects,
    score_pictures,
)
from mggr_tf.evaluation.source_gaze import SourceGaze, estimate_sources
from mggr_tf.evaluation.trained import load_exported, load_judge, redirect_with
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import trained_on
from mggr_tf.runs.record import DataRecord

Groups = dict[str, dict[str, NDArray[np.bool_]]]
"""Property of people or pairs -> name of the group -> [P] bool, True for pairs in it."""

SEED = 7_000
PEOPLE = 240
PAIRS = 3000

_LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Measured:
    """Scores of every pair, and the groups of the pairs.

    Attributes:
        scores: Scores of `copy`, `redirected`, `redirected_estimated` and `target`.
        estimator_error_deg: [P] gaze error of the estimator on the source patches, in degrees.
        groups: Groups of the pairs; see `Groups`.
    """

    scores: PairScores
    estimator_error_deg: NDArray[np.float64]
    groups: Groups


def measure(
    folder: Path, *, judge: RunFolder, progress: Progress, notify: Callable[[str], None]
) -> Measured:
    """Redirect pairs of new synthetic people and score the results.

    Args:
        folder: Folder that holds the lean run as `run/`.
        judge: Run with a judge that was trained on other people.
        progress: Factory of progress bars.
        notify: Callback for messages to the user.
    """
    run = RunFolder.open(folder / "run")
    config = replace(
        run.config, synthetic=replace(run.config.synthetic, seed=SEED, subjects=PEOPLE)
    )
    samples = open_samples(
        SYNTHETIC, config=config, subjects=None, progress=progress, notify=notify
    )
    refuse_seen_subjects(samples.subjects, trained_on({"the run": run, "the judge": judge}))
    networks = load_exported(run)
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


_CARD = """\
# Default weights of mggr-tf

A gaze estimator ({estimator:,} parameters) and an MGGR redirector ({redirector:,} parameters) for
eye patches of 64 x 64 pixels, as TFLite files (float and int8) and as Keras weights. Licence:
Apache-2.0.

## What for

Eye contact in calls and pictures, on the user's own device and of people who want it; a start for
training on one's own data (`mggr-tf train --from default`); tests and demonstrations. Not for
making others appear to look where they did not, nor for conclusions about a person's attention,
health or honesty. Videos that `mggr-edge` writes say in their metadata that the gaze was
redirected.

## What they learned from

{drawn}: {people} people of the renderer `mggr_tf.drawn_eyes` (seed {seed}),
{patches:,} patches. Config `{config}`; steps: {steps}. {training}

{photographs} Two other things come from photographs: losses compare
features of networks that learned ImageNet (AlexNet, EfficientNet-Lite0), and the renderer's
proportions were set by looking at eye patches of the Columbia Gaze Data Set beside drawn ones.

## How well they do

On {count:,} pairs of {tested} drawn people whom neither the networks nor the judge ever saw (seed
{test_seed}). Estimator: mean angle between its answer and the truth, degrees. L1 and ST-LPIPS: of
the redirected picture to the real one, as a share of what leaving the eye alone costs. Gaze: the
angle between what a judge of another architecture sees and what was asked for, degrees; beside it
what the judge sees in the real pictures. The first row of each group starts at the true gaze of
the source; the second one starts at the estimator's answer for that eye, as a device has to (which
also takes the mean of both eyes). Head poses are the true ones in both. All of it is measured on
the Keras models; what the files differ by stands below.

{table}

{files}

## Limits

- Drawn eyes are not photographs: what holds here holds less there. `docs/synthetic.md` lists what
  gives them away, and has what was measured on photographs.
- Gazes within {pitch:g} degrees of pitch and {yaw:g} of yaw, heads within {head_pitch:g} and
  {head_yaw:g} degrees were trained.
- Strong reflections in glasses, eyes under hair, heavy make-up, one eye that looks elsewhere, and
  very dark or blurred pictures were drawn seldom or never.
- A closed eye stays closed because the device leaves it alone, not because the network would.
"""


def model_card(run: RunFolder, found: Measured, contracts: Mapping[str, Contract]) -> str:
    """Return the text of `MODEL_CARD.md`.

    Args:
        run: Run that the weights come from.
        found: Scores of the weights.
        contracts: Contracts of the exported bundles by name.
    """
    networks, data = load_exported(run), run.record.data
    stages = run.record.stages
    minutes = sum(stage.seconds for stage in stages.values()) / 60
    return _CARD.format(
        estimator=networks.estimator.count_params(),
        redirector=networks.averaged.joined.count_params(),
        drawn="Drawn eyes alone" if run.record.portraits is None else "Drawn eyes",
        photographs=_photographs(run.record.portraits),
        people=len(data.subjects),
        seed=run.config.synthetic.seed,
        patches=data.patches,
        config=run.config.name,
        steps=", ".join(f"{name} {stage.done}" for name, stage in stages.items()),
        training=f"Training took {minutes:.0f} minutes." if minutes >= 1 else "",
        count=len(found.scores.subject),
        tested=len(found.scores.subjects),
        test_seed=SEED,
        table=_table(found),
        files=_files(contracts),
        pitch=PITCH_RANGE_DEG,
        yaw=YAW_RANGE_DEG,
        head_pitch=HEAD_PITCH_RANGE_DEG,
        head_yaw=HEAD_YAW_RANGE_DEG,
    )


def _photographs(portraits: DataRecord | None) -> str:
    if portraits is None:
        return "No photograph is in the training data."
    return (
        f"Photographs of {len(portraits.subjects)} people whose gaze is known "
        f"({portraits.patches:,} patches; {len(portraits.held_out)} others held out; "
        f"{portraits.name}: {portraits.licence}), and versions of them that the redirector made."
    )


def _files(contracts: Mapping[str, Contract]) -> str:
    """Return a table of the exported files and their differences from Keras."""
    lines = [
        "| bundle | model | precision | PSNR against Keras | inside the eye opening |",
        "|---|---|---|---|---|",
    ]
    for name, contract in contracts.items():
        for model, artifact in _files_of(contract):
            measured = [p.psnr_db for p in artifact.parity if p.psnr_db is not None]
            least = f"{min(measured):.0f} dB" if measured else "equal"
            inside = "" if artifact.opening is None else _db(artifact.opening.psnr_db)
            lines.append(f"| {name} | {model} | {artifact.precision} | {least} | {inside} |")
    return "\n".join(lines)


def _db(psnr_db: float | None) -> str:
    return "equal" if psnr_db is None else f"{psnr_db:.0f} dB"


def _files_of(contract: Contract) -> Iterator[tuple[str, Artifact]]:
    for model, formats in sorted(contract.models.items()):
        for artifact in formats:
            yield model, artifact


def _table(found: Measured) -> str:
    lines = [
        "| who | pairs | estimator | L1 | ST-LPIPS | gaze | judge itself |",
        "|---|---|---|---|---|---|---|",
        *_rows("everybody", found, np.ones(len(found.scores.subject), bool)),
    ]
    for what, kinds in found.groups.items():
        for kind, where in kinds.items():
            lines += _rows(f"{what}: {kind}", found, where)
    return "\n".join(lines)


def _rows(title: str, found: Measured, where: NDArray[np.bool_]) -> list[str]:
    """Return two rows: one with the true and one with the estimated gaze of the source."""
    return [
        _row(title, REDIRECTED["labelled"], found, where),
        _row(f"{title}, estimated source", REDIRECTED["estimated"], found, where),
    ]


def _row(title: str, ours: str, found: Measured, where: NDArray[np.bool_]) -> str:
    if not where.any():
        return f"| {title} | 0 | | | | | |"
    metrics = found.scores.metrics

    def mean(method: str, metric: str) -> float:
        return float(np.mean(metrics[method][metric][where]))

    cells = [
        f"{int(where.sum())}",
        f"{float(np.mean(found.estimator_error_deg[where])):.1f}",
        f"{mean(ours, 'l1') / mean('copy', 'l1'):.2f}",
        f"{mean(ours, 'st_lpips') / mean('copy', 'st_lpips'):.2f}",
        f"{mean(ours, 'gaze_error_deg'):.1f}",
        f"{mean('target', 'gaze_error_deg'):.1f}",
    ]
    return f"| {title} | {' | '.join(cells)} |"

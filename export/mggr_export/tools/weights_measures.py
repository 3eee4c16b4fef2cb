"""Measure the default weights, and write their model card.

The judge is a gaze estimator that is used only for scores. The people in the test data differ from
the people that the weights and the judge were trained on.
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
"""Property of the people or pairs -> name of a group -> mask of the pairs in the group.

A mask is an array of shape [P] for P pairs. Its values are True for the pairs in the group.
"""

SEED = 7_000
PEOPLE = 240
PAIRS = 3000

_LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Measured:
    """Scores of all pairs, and the groups that the pairs belong to.

    Attributes:
        scores: Scores of the methods `copy`, `redirected`, `redirected_estimated` and `target`.
        estimator_error_deg: Gaze errors of the estimator on the source patches, in degrees. The
            array has the shape [P].
        groups: Groups of the pairs, as described at `Groups`.
    """

    scores: PairScores
    estimator_error_deg: NDArray[np.float64]
    groups: Groups


def measure(
    folder: Path, *, judge: RunFolder, progress: Progress, notify: Callable[[str], None]
) -> Measured:
    """Redirect pairs of synthetic people who are not in the training data, and score the results.

    Args:
        folder: Folder that contains the run of the weights as `run/`.
        judge: Run whose judge was trained on other people.
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
---
license: apache-2.0
library_name: mggr-tf
pipeline_tag: image-to-image
tags: [gaze-redirection, gaze-estimation, eye-contact, tflite, onnx]
training_data: {drawn}{source}
---

# Default weights of mggr-tf

These are the weights of a gaze estimator ({estimator:,} parameters) and an MGGR redirector
({redirector:,} parameters). Both networks process eye patches of 64 x 64 pixels. The weights are
available as TFLite and ONNX files (float and int8) and as Keras weights. Licence: Apache-2.0.

## Intended use

- The weights can redirect gaze to the camera in calls and pictures. Use them on your own device
  and with the consent of the person in the picture.
- Training on other data can start from the weights (`mggr-tf train --from default`).
- Tests and demonstrations can use the weights.

Do not use the weights to misrepresent the gaze of other people, or to draw conclusions about a
person's attention, health or honesty. `mggr-edge` marks videos with redirected gaze in their
metadata.

## Training data

{drawn}: {people} people of the renderer `mggr_tf.drawn_eyes` (seed {seed}),
{patches:,} patches. Config: `{config}`. Training steps: {steps}. {training}

{photographs} Photographs influence the weights in two other ways. First, some losses compare
features of networks that were trained on ImageNet (AlexNet and EfficientNet-Lite0). Second, the
proportions of the synthetic eyes were chosen by comparison with the Columbia Gaze Data Set.

## Accuracy

The metrics were measured on {count:,} pairs of {tested} synthetic people (seed {test_seed}).
The networks and the judge were trained on other people. The judge is a second gaze estimator with
another architecture. The judge is used only for scores. Smaller values are better in all columns of
metrics.

- Column "estimator": mean gaze error of the estimator in degrees.
- Columns "L1" and "ST-LPIPS": distance between the redirected picture and the real picture of the
  target gaze. This distance is divided by the distance between the unchanged source picture and the
  real picture of the target gaze.
- Column "gaze": mean gaze error of the redirected pictures in degrees, measured by the judge.
- Column "judge": mean gaze error of the judge on the real pictures of the target gaze, in degrees.

The first row of each group starts from the true source gaze. The second row starts from the
estimated source gaze, as on a device. A device also averages the estimates of both eyes. Both rows
use the true head poses. All metrics were measured on the Keras models. The second table lists the
differences between the exported files and the Keras models.

{table}

{files}

## Limits

- Synthetic eyes differ from photographs. The accuracy on photographs is therefore lower.
  `docs/synthetic.md` lists the differences and the results on photographs.
- The gazes in the training data have up to {pitch:g} degrees of pitch and {yaw:g} degrees of yaw.
  The head poses have up to {head_pitch:g} degrees of pitch and {head_yaw:g} degrees of yaw.
- The training data contain few or no examples of the following: strong reflections in glasses, eyes
  under hair, heavy make-up, eyes with different gaze directions, and very dark or blurred pictures.
- Closed eyes stay closed because the device does not redirect them. The network itself cannot
  process closed eyes.
"""


def model_card(run: RunFolder, found: Measured, contracts: Mapping[str, Contract]) -> str:
    """Return the text of `MODEL_CARD.md`.

    Args:
        run: Run that the weights come from.
        found: Scores of the weights, and groups of the pairs.
        contracts: Contracts of the exported bundles by name.
    """
    networks, data = load_exported(run), run.record.data
    stages = run.record.stages
    minutes = sum(stage.seconds for stage in stages.values()) / 60
    return _CARD.format(
        estimator=networks.estimator.count_params(),
        redirector=networks.averaged.joined.count_params(),
        source="" if run.record.portraits is None else f" and {run.record.portraits.name}",
        drawn="Synthetic eyes only" if run.record.portraits is None else "Synthetic eyes",
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
        return "The training data contain no photographs."
    return (
        f"The training data also contain photographs of {len(portraits.subjects)} people with "
        f"known gaze ({portraits.patches:,} patches; {len(portraits.held_out)} other people are "
        f"held out; {portraits.name}: {portraits.licence}). Redirected versions of these "
        "photographs are training data, too."
    )


def with_files_of(card: str, contracts: Mapping[str, Contract]) -> str:
    """Return a model card with the table of other exported files of the same weights.

    Args:
        card: Text of `model_card`.
        contracts: Contracts of the new bundles by name.
    """
    table = _files(contracts)
    header = table.splitlines()[0]
    before, after = card.split(header, 1)
    return before + table + "\n\n" + after.split("\n\n", 1)[1]


def _files(contracts: Mapping[str, Contract]) -> str:
    """Return a table of the exported files and of their differences from Keras."""
    lines = [
        "| bundle | model | format | precision | PSNR against Keras | inside the eye opening |",
        "|---|---|---|---|---|---|",
    ]
    for name, contract in contracts.items():
        for model, artifact in _files_of(contract):
            measured = [p.psnr_db for p in artifact.parity if p.psnr_db is not None]
            least = f"{min(measured):.0f} dB" if measured else "equal"
            inside = "" if artifact.opening is None else _db(artifact.opening.psnr_db)
            kind = f"{artifact.format} | {artifact.precision}"
            lines.append(f"| {name} | {model} | {kind} | {least} | {inside} |")
    return "\n".join(lines)


def _db(psnr_db: float | None) -> str:
    return "equal" if psnr_db is None else f"{psnr_db:.0f} dB"


def _files_of(contract: Contract) -> Iterator[tuple[str, Artifact]]:
    for model, formats in sorted(contract.models.items()):
        for artifact in formats:
            yield model, artifact


def _table(found: Measured) -> str:
    lines = [
        "| group | pairs | estimator | L1 | ST-LPIPS | gaze | judge |",
        "|---|---|---|---|---|---|---|",
        *_rows("all", found, np.ones(len(found.scores.subject), bool)),
    ]
    for what, kinds in found.groups.items():
        for kind, where in kinds.items():
            lines += _rows(f"{what}: {kind}", found, where)
    return "\n".join(lines)


def _rows(title: str, found: Measured, where: NDArray[np.bool_]) -> list[str]:
    """Return two table rows: one for the true source gaze, and one for the estimated gaze."""
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

"""Eyes and people for the calibration and comparison of models.

Quantization ranges fit the people in the calibration data. A proof on the same people, even on
other pairs, therefore overestimates the accuracy of the file. Names identify people across all
sources, because two folders may hold patches of the same recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.errors import DataError
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs
from mggr_export.arrays import Arrays, ModelInputs
from mggr_export.eyes.sight import Openings, Sight
from mggr_tf.data.pairs import pair_table
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import pair_inputs

_HEAD_BIN_DEG = 15.0
_STEP = 31
"""Step between selected closing eyes.

It is a prime larger than the number of pictures of one synthetic person.
"""


def balanced_pairs(samples: EyeSamples, count: int, *, seed: int) -> NDArray[np.int64]:
    """Choose pairs so that subjects, and then head poses, occur equally often.

    A pair is repeated only after all other pairs of the same subject, side and head pose were
    chosen. Any two separate sections of the result are balanced. They have no pair in common
    as long as there are enough pairs.

    Args:
        samples: Eye patches to pair.
        count: Number of pairs.
        seed: Seed of the random order.

    Returns:
        [count, 2] int64 indices (source, target).

    Raises:
        DataError: If the samples contain no pair.
    """
    table = pair_table(samples)
    rng = np.random.default_rng(seed)
    groups = [row[:n] for row, n in zip(table.members, table.counts, strict=True)]
    subjects = [str(samples.subject[group[0]]) for group in groups]
    heads = [round(float(samples.head_deg[group[0], 1]) / _HEAD_BIN_DEG) for group in groups]
    pairs = [_endless_pairs(group, rng) for group in groups]
    order = rng.permutation(len(groups))  # breaks ties
    used: Counter[object] = Counter()

    def how_often(index: int) -> tuple[int, int, int]:
        subject, head = subjects[index], heads[index]
        return used[subject], used[head], used[index, "group"]

    chosen = []
    for _ in range(count):
        index = min(order, key=how_often)
        used.update((subjects[index], heads[index], (index, "group")))
        chosen.append(next(pairs[index]))
    return np.asarray(chosen, np.int64)


def inputs_of_pairs(
    samples: EyeSamples, pairs: NDArray[np.int64], conventions: Conventions
) -> ModelInputs:
    """Return the inputs of each model for these pairs, from the device's own preprocessing.

    Args:
        samples: Eye patches.
        pairs: [N, 2] indices (source, target).
        conventions: Scales of the network inputs.
    """
    source = pairs[:, 0]
    return {
        "redirector": pair_inputs(samples, pairs, conventions),
        "estimator": estimator_inputs(
            samples.images[source], head_deg=samples.head_deg[source], conventions=conventions
        ),
    }


def with_closing_eyes(
    inputs: ModelInputs, eyes: EyeSamples | None, conventions: Conventions, *, first: int = 0
) -> ModelInputs:
    """Return the inputs with every second estimator input replaced by a closing or covered eye.

    An estimator that predicts the eye state also processes eyes that are not open. Its
    quantization ranges must include such eyes, and its parity must hold for them.

    Args:
        inputs: Inputs as returned by `inputs_of_pairs`.
        eyes: Closing or covered eyes; None returns the inputs unchanged.
        conventions: Scales of the network inputs.
        first: Index of the first input in the whole sequence, if `inputs` is a part of it.
    """
    if eyes is None:
        return inputs
    ours = {name: value.copy() for name, value in inputs["estimator"].items()}
    places = np.arange(first, first + len(ours["eye"]))
    changed = places % 2 == 1
    # A step beyond the pictures of one person reaches all people within few inputs.
    chosen = (places[changed] // 2 * _STEP) % len(eyes)
    theirs = estimator_inputs(
        eyes.images[chosen], head_deg=eyes.head_deg[chosen], conventions=conventions
    )
    for name, value in ours.items():
        value[changed] = theirs[name]
    return {**inputs, "estimator": ours}


def _endless_pairs(group: NDArray[np.int32], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield all ordered pairs of two different members, shuffled, in an endless cycle."""
    every = [(int(a), int(b)) for a in group for b in group if a != b]
    return cycle([every[i] for i in rng.permutation(len(every))])


_COMPARED_SHARE = 0.25
_SEED = 64


def separate_people(compared: EyeSamples, calibration: EyeSamples) -> tuple[EyeSamples, EyeSamples]:
    """Assign every person to either the comparison or the calibration.

    Some people may be in both sets. If the comparison set has other people, the shared people
    stay in the calibration set only. Otherwise, if the calibration set has other people, they
    stay in the comparison set only. If both sets contain the same people, a quarter of them (at
    least one, a seeded random choice) is compared, and the others are used for calibration.

    Returns:
        Eyes for the comparison, and eyes for the calibration. No person has a pair of patches in
        both.

    Raises:
        DataError: If both sets contain the same single person, or if no person has a pair of
            patches.
    """
    comparable, calibrating = _with_pairs(compared), _with_pairs(calibration)
    both = comparable & calibrating
    if not both:
        return compared, calibration
    if comparable - both:
        return compared.of_subjects(comparable - both), calibration
    if calibrating - both:
        return compared, calibration.of_subjects(calibrating - both)
    if len(both) < 2:
        raise DataError(
            f"{compared.source}: an int8 export calibrates and compares on different people, but "
            f"only {next(iter(both))} has a pair of patches; pass eyes of other people with "
            "--calibration (or --calibration synthetic)",
            code="only-one-person",
            source=compared.source,
            person=next(iter(both)),
        )
    names = sorted(both)
    count = max(1, round(len(names) * _COMPARED_SHARE))
    chosen = {names[i] for i in np.random.default_rng(_SEED).permutation(len(names))[:count]}
    return compared.of_subjects(chosen), calibration.of_subjects(both - chosen)


def refuse_shared_people(compared: Iterable[str], calibrated: Iterable[str]) -> None:
    """Reject people who are in both the comparison and the calibration data.

    Raises:
        DataError: If a person is in both.
    """
    if both := sorted({*compared} & {*calibrated}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} people ({shown}) are in both the comparison and the calibration data; "
            "pass other people for one of them",
            code="people-in-both",
            count=len(both),
            people=shown,
        )


def _with_pairs(samples: EyeSamples) -> set[str]:
    """Return the names of the people with at least two patches that form a pair."""
    return {str(name) for name in samples.subject[pair_table(samples).members[:, 0]]}


CALIBRATION_PAIRS = 320
PARITY_PAIRS = 256
FITTING_BATCH = 16
SEED = 64


@dataclass(frozen=True)
class ExportEyes:
    """Eyes for comparison, and for calibration and QAT in an int8 export.

    Attributes:
        source: Source of the compared eyes.
        compared: Inputs of every model for the comparison.
        sight: Gaze comparison for the compared pairs.
        openings: Eye openings of the compared source patches.
        calibrated_on: Source of the calibration eyes.
        calibrated_people: Sorted names of the people in the calibration data; none of them is
            compared.
        closing: Closing eyes among the estimator's inputs; None if the estimator does not
            predict the eye state.
        calibration: Inputs of every model for the calibration; None for a float export.
        fitting: Eyes for QAT; None without QAT.
    """

    source: str
    compared: ModelInputs
    sight: Sight
    openings: Openings
    calibrated_on: str = ""
    calibrated_people: tuple[str, ...] = ()
    closing: ClosingToExport | None = None
    calibration: ModelInputs | None = None
    fitting: EyesToFit | None = None

    def source_of(self, model: str) -> str:
        """Return the source of the eyes that a model is compared on."""
        return _with_closing(self.source, self.closing, model)

    def calibrated_on_of(self, model: str) -> str:
        """Return the source of the eyes that a model is calibrated on."""
        return _with_closing(self.calibrated_on, self.closing, model)

    def calibrated_people_of(self, model: str) -> tuple[str, ...]:
        """Return the names of the people that a model is calibrated on.

        The model is not compared on any of these people.
        """
        others = self.closing if model == "estimator" else None
        return (*self.calibrated_people, *(others.calibration.subjects if others else ()))


@dataclass(frozen=True)
class ClosingToExport:
    """Synthetic closing eyes behind occluders, for an estimator that predicts the eye state.

    Attributes:
        compared: Eyes of people that no training draws.
        calibration: Eyes of other people.
    """

    compared: EyeSamples
    calibration: EyeSamples


def _with_closing(source: str, closing: ClosingToExport | None, model: str) -> str:
    with_them = closing is not None and model == "estimator"
    return f"{source}; drawn eyes that close" if with_them else source


@dataclass(frozen=True)
class EyesToFit:
    """Pairs of eyes for QAT, in a fixed order.

    The inputs are prepared batch by batch, because all of them together would need too much
    memory.

    Attributes:
        samples: Eye patches.
        pairs: [N, 2] indices (source, target).
        conventions: Scales of the network inputs.
        closing: Closing eyes among the estimator's inputs; None if there are none.
    """

    samples: EyeSamples
    pairs: NDArray[np.int64]
    conventions: Conventions
    closing: EyeSamples | None = None

    def batches(self, model: str) -> Iterator[Arrays]:
        """Yield the inputs of a model, `FITTING_BATCH` examples at a time."""
        for first in range(0, len(self.pairs), FITTING_BATCH):
            some = self.pairs[first : first + FITTING_BATCH]
            inputs = inputs_of_pairs(self.samples, some, self.conventions)
            yield with_closing_eyes(inputs, self.closing, self.conventions, first=first)[model]


def choose_eyes(
    compared: EyeSamples,
    calibration: EyeSamples | None,
    *,
    estimator: keras.Model,
    conventions: Conventions,
    fitting_steps: int = 0,
    closing: ClosingToExport | None = None,
) -> ExportEyes:
    """Choose pairs that are balanced over subjects and head poses.

    Args:
        compared: Eyes for the comparison.
        calibration: Eyes of other people for the calibration; None for a float export.
        estimator: Keras estimator of the run.
        conventions: Scales of the network inputs.
        fitting_steps: Number of QAT steps; 0 for none. QAT uses the people of the calibration.
            If they have too few pairs, some pairs are used more than once.
        closing: Closing eyes for the estimator's inputs; None if the estimator does not predict
            the eye state.

    Raises:
        DataError: If a person is both calibrated on and compared, or if there is no pair.
    """
    if calibration is not None:
        refuse_shared_people(compared.subjects, calibration.subjects)
    pairs = balanced_pairs(compared, PARITY_PAIRS, seed=SEED)
    eyes = ExportEyes(
        source=compared.source,
        compared=with_closing_eyes(
            inputs_of_pairs(compared, pairs, conventions),
            None if closing is None else closing.compared,
            conventions,
        ),
        sight=Sight.of_pairs(estimator, compared, pairs, conventions),
        openings=Openings.of_pairs(compared, pairs, conventions),
        closing=closing,
    )
    if calibration is None:
        return eyes
    others = None if closing is None else closing.calibration
    to_quantise = CALIBRATION_PAIRS + FITTING_BATCH * fitting_steps
    seen, fitted = np.split(
        balanced_pairs(calibration, to_quantise, seed=SEED), [CALIBRATION_PAIRS]
    )
    return replace(
        eyes,
        calibrated_on=calibration.source,
        calibrated_people=calibration.subjects,
        calibration=with_closing_eyes(
            inputs_of_pairs(calibration, seen, conventions), others, conventions
        ),
        fitting=EyesToFit(calibration, fitted, conventions, others) if fitting_steps else None,
    )

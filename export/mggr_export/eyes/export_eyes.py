"""The eyes and people that models are calibrated and compared on.

Ranges that were calibrated on a person fit that person: a proof on the same one, even on other
pairs, flatters the file. Names identify people, across sources too: two folders may hold
patches of the same recording.
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
"""A prime beyond the pictures of one drawn person."""


def balanced_pairs(samples: EyeSamples, count: int, *, seed: int) -> NDArray[np.int64]:
    """Chooses pairs so that subjects, then head poses, occur equally often.

    A pair occurs again only when its subject, side and head pose has no other
    left. Any two stretches of the result are balanced and, while the data
    lasts, have no pair in common.

    Returns:
        [count, 2] indices, (source, target).

    Raises:
        DataError: the samples hold no pair.
    """
    table = pair_table(samples)
    rng = np.random.default_rng(seed)
    groups = [row[:n] for row, n in zip(table.members, table.counts, strict=True)]
    subjects = [str(samples.subject[group[0]]) for group in groups]
    heads = [round(float(samples.head_deg[group[0], 1]) / _HEAD_BIN_DEG) for group in groups]
    pairs = [_endless_pairs(group, rng) for group in groups]
    order = rng.permutation(len(groups))  # decides between equals
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
    """What the device would feed each model for these pairs, by its own preprocessing."""
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
    """The same inputs, but every second one of the estimator is an eye that closes or is covered.

    An estimator that predicts the state of an eye sees more than open eyes: its integers must
    reach as far, and its parity must hold there.

    Args:
        inputs: as of `inputs_of_pairs`.
        eyes: which; None changes nothing.
        conventions: the scales.
        first: place of the first input among all, where these are some of many.
    """
    if eyes is None:
        return inputs
    ours = {name: value.copy() for name, value in inputs["estimator"].items()}
    places = np.arange(first, first + len(ours["eye"]))
    changed = places % 2 == 1
    # Steps that reach every person soon.
    chosen = (places[changed] // 2 * _STEP) % len(eyes)
    theirs = estimator_inputs(
        eyes.images[chosen], head_deg=eyes.head_deg[chosen], conventions=conventions
    )
    for name, value in ours.items():
        value[changed] = theirs[name]
    return {**inputs, "estimator": ours}


def _endless_pairs(group: NDArray[np.int32], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """All ordered pairs of two different members, shuffled, over and over."""
    every = [(int(a), int(b)) for a in group for b in group if a != b]
    return cycle([every[i] for i in rng.permutation(len(every))])


_COMPARED_SHARE = 0.25
_SEED = 64


def separate_people(compared: EyeSamples, calibration: EyeSamples) -> tuple[EyeSamples, EyeSamples]:
    """Leaves every person to one side, comparison or calibration.

    People of both sides stay with the calibration where others are left to compare, and with the
    comparison where others are left to calibrate. Where both hold the same people, a quarter of
    them (at least one, a seeded draw) is compared.

    Returns:
        to compare on, and to calibrate on; nobody is in both, all have a pair of patches.

    Raises:
        DataError: there is one person only, or nobody with a pair of patches.
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
            f"{compared.source}: int8 models are calibrated and compared on different people, and "
            f"{next(iter(both))} is the only one with a pair of patches; name eyes of others with "
            "--calibration (`synthetic` draws some)"
        )
    names = sorted(both)
    count = max(1, round(len(names) * _COMPARED_SHARE))
    chosen = {names[i] for i in np.random.default_rng(_SEED).permutation(len(names))[:count]}
    return compared.of_subjects(chosen), calibration.of_subjects(both - chosen)


def refuse_shared_people(compared: Iterable[str], calibrated: Iterable[str]) -> None:
    """Refuses people who are in both.

    Raises:
        DataError: there is one.
    """
    if both := sorted({*compared} & {*calibrated}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} people to compare on ({shown}) were calibrated on; name others"
        )


def _with_pairs(samples: EyeSamples) -> set[str]:
    """Names of the people with two patches that can be paired."""
    return {str(name) for name in samples.subject[pair_table(samples).members[:, 0]]}


CALIBRATION_PAIRS = 320
PARITY_PAIRS = 256
FITTING_BATCH = 16
SEED = 64


@dataclass(frozen=True)
class ExportEyes:
    """What models are compared on, and calibrated and fitted on where they are quantised.

    Attributes:
        source: where the compared ones come from.
        compared: of every model.
        sight: where they look, and shall look.
        openings: the eye openings of their sources.
        calibrated_on: where the calibration's come from.
        calibrated_people: names of the people in the calibration, sorted; none of them is compared.
        calibration: of every model; None for float.
        fitting: what weights are fitted to integers on; None where they are not.
        closing: eyes among those of the estimator; None for one that predicts no state.
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
        """Where the eyes come from that a model is compared on."""
        return _with_closing(self.source, self.closing, model)

    def calibrated_on_of(self, model: str) -> str:
        """Where the eyes come from that a model is calibrated on."""
        return _with_closing(self.calibrated_on, self.closing, model)

    def calibrated_people_of(self, model: str) -> tuple[str, ...]:
        """Names of the people that a model is calibrated on, none of whom it is compared on."""
        others = self.closing if model == "estimator" else None
        return (*self.calibrated_people, *(others.calibration.subjects if others else ()))


@dataclass(frozen=True)
class ClosingToExport:
    """Drawn eyes that close, behind occluders, for an estimator that predicts their state.

    Attributes:
        compared: of people whom no training draws.
        calibration: of others.
    """

    compared: EyeSamples
    calibration: EyeSamples


def _with_closing(source: str, closing: ClosingToExport | None, model: str) -> str:
    with_them = closing is not None and model == "estimator"
    return f"{source}; drawn eyes that close" if with_them else source


@dataclass(frozen=True)
class EyesToFit:
    """Pairs of eyes in a fixed order, prepared as they are needed: all at once would be large.

    Attributes:
        samples: eyes.
        pairs: [N, 2] of indices, (source, target).
        conventions: the scales.
        closing: eyes among those of the estimator.
    """

    samples: EyeSamples
    pairs: NDArray[np.int64]
    conventions: Conventions
    closing: EyeSamples | None = None

    def batches(self, model: str) -> Iterator[Arrays]:
        """The inputs of a model, `FITTING_BATCH` examples at a time."""
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
    """Chooses pairs, balanced over subjects and head poses.

    Args:
        compared: eyes to compare on.
        calibration: eyes of other people to calibrate on; None for float.
        estimator: of the run, in Keras.
        conventions: the scales.
        fitting_steps: in which weights are fitted to integers, on the calibration's people; where
            they have few pairs, on some more than once.
        closing: eyes among those of the estimator; None for one that predicts no state.

    Raises:
        DataError: a person is calibrated on and compared, or there is no pair.
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

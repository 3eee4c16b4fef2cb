"""Select eyes and people for the calibration and comparison of models.

A model is calibrated on some people and compared with Keras on other people. The reason is that
quantization ranges fit the people in the calibration data. A comparison on the same people would
overestimate the accuracy of the file, even with other pairs. People with the same name count as the
same person, also in different folders. The reason is that two folders may contain patches of the
same recording.

A pair consists of a source patch and a target patch of the same person. Closing eyes are synthetic
eyes that are partly or fully closed.
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
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import estimator_inputs
from mggr_edge.models.runtimes.runner import Arrays
from mggr_export.eyes.sight import Openings, Sight
from mggr_tf.data.pairs import pair_table
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.protocol import pair_inputs

ModelInputs = dict[str, dict[str, NDArray[np.float32]]]
"""Model name -> input name -> array with the inputs of all examples."""

_HEAD_BIN_DEG = 15.0
_STEP = 31
"""Step between the indices of selected closing eyes.

The step is a prime number that is larger than the number of pictures of one synthetic person.
"""


def balanced_pairs(samples: EyeSamples, count: int, *, seed: int) -> NDArray[np.int64]:
    """Choose pairs so that subjects occur equally often and, if possible, head poses do, too.

    A pair is repeated only after all other pairs of the same subject, side and head pose were
    chosen. Each contiguous part of the result is balanced, too. If there are enough pairs, two
    separate parts have no pair in common.

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
    """Return the inputs of each model for these pairs, computed by the device's own preprocessing.

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
    """Replace every second input of the estimator by a closing or covered eye.

    An estimator that predicts the eye state also processes eyes that are not open. The calibration
    and the comparison of this estimator must therefore contain such eyes.

    Args:
        inputs: Inputs as returned by `inputs_of_pairs`.
        eyes: Closing or covered eyes. With `None`, the inputs are returned unchanged.
        conventions: Scales of the network inputs.
        first: Index of the first input in the whole sequence. If `inputs` is a later part of a
            sequence, the index is above 0.
    """
    if eyes is None:
        return inputs
    ours = {name: value.copy() for name, value in inputs["estimator"].items()}
    places = np.arange(first, first + len(ours["eye"]))
    changed = places % 2 == 1
    # The step is larger than the number of pictures of one person. A small number of inputs
    # therefore already contains all people.
    chosen = (places[changed] // 2 * _STEP) % len(eyes)
    theirs = estimator_inputs(
        eyes.images[chosen], head_deg=eyes.head_deg[chosen], conventions=conventions
    )
    for name, value in ours.items():
        value[changed] = theirs[name]
    return {**inputs, "estimator": ours}


def _endless_pairs(group: NDArray[np.int32], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield all ordered pairs of two different members in random order, then repeat them."""
    every = [(int(a), int(b)) for a in group for b in group if a != b]
    return cycle([every[i] for i in rng.permutation(len(every))])


_COMPARED_SHARE = 0.25
_SEED = 64


def separate_people(compared: EyeSamples, calibration: EyeSamples) -> tuple[EyeSamples, EyeSamples]:
    """Assign every person to either the comparison or the calibration.

    Some people may be in both sets. There are three cases:

    If the comparison set also has people of its own, the shared people are removed from this set.

    Otherwise, if the calibration set also has people of its own, the shared people are removed from
    the calibration set.

    Otherwise, both sets contain the same people. A quarter of these people, at least one person, is
    used for the comparison. The people are chosen at random with a fixed seed. The calibration uses
    the remaining people.

    Returns:
        Eyes for the comparison, and eyes for the calibration. No person has pairs in both results.

    Raises:
        DataError: If only one person is available for both sets, or if no person has a pair of
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
            f"{compared.source}: an int8 export needs different people for calibration and "
            f"comparison, but only {next(iter(both))} has a pair of patches; pass eyes of other "
            "people with --calibration (or --calibration synthetic)",
            code="only-one-person",
            source=compared.source,
            person=next(iter(both)),
        )
    names = sorted(both)
    count = max(1, round(len(names) * _COMPARED_SHARE))
    chosen = {names[i] for i in np.random.default_rng(_SEED).permutation(len(names))[:count]}
    return compared.of_subjects(chosen), calibration.of_subjects(both - chosen)


def refuse_shared_people(compared: Iterable[str], calibrated: Iterable[str]) -> None:
    """Raise an error if a person is in both the comparison and the calibration data.

    Raises:
        DataError: If a person is in both data sets.
    """
    if both := sorted({*compared} & {*calibrated}):
        shown = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
        raise DataError(
            f"{len(both)} people ({shown}) are in both the comparison and the calibration data; "
            "pass data of different people",
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
    """Eyes for the comparison, the calibration and QAT (quantization-aware training).

    Only an int8 export has eyes for the calibration and for QAT.

    Attributes:
        source: Data source of the eyes in the comparison.
        compared: Inputs of every model in the comparison.
        sight: Gaze comparison for the pairs of the comparison.
        openings: Eye openings of the source patches in the comparison.
        calibrated_on: Data source of the eyes in the calibration.
        calibrated_people: Sorted names of the people in the calibration data. The comparison
            contains none of these people.
        closing: Closing eyes that are part of the estimator's inputs. `None` if the estimator does
            not predict the eye state.
        calibration: Inputs of every model in the calibration. `None` for a float export.
        fitting: Eyes for QAT. `None` without QAT.
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
        """Return the data source of the eyes that are used for the comparison of a model."""
        return _with_closing(self.source, self.closing, model)

    def calibrated_on_of(self, model: str) -> str:
        """Return the data source of the eyes that are used for the calibration of a model."""
        return _with_closing(self.calibrated_on, self.closing, model)

    def calibrated_people_of(self, model: str) -> tuple[str, ...]:
        """Return the names of the people whose eyes are used for the calibration of a model.

        The comparison of the model uses none of these people.
        """
        others = self.closing if model == "estimator" else None
        return (*self.calibrated_people, *(others.calibration.subjects if others else ()))


@dataclass(frozen=True)
class ClosingToExport:
    """Synthetic closing eyes behind occluders, for an estimator that predicts the eye state.

    Attributes:
        compared: Eyes for the comparison. These people are not in the training data.
        calibration: Eyes of other people, for the calibration.
    """

    compared: EyeSamples
    calibration: EyeSamples


def _with_closing(source: str, closing: ClosingToExport | None, model: str) -> str:
    with_them = closing is not None and model == "estimator"
    return f"{source}; drawn eyes that close" if with_them else source


@dataclass(frozen=True)
class EyesToFit:
    """Pairs of eye patches for QAT, in a fixed order.

    The inputs are prepared batch by batch, because all inputs together would need too much memory.

    Attributes:
        samples: Eye patches.
        pairs: [N, 2] indices (source, target).
        conventions: Scales of the network inputs.
        closing: Closing eyes that are part of the estimator's inputs. `None` if there are no
            closing eyes.
    """

    samples: EyeSamples
    pairs: NDArray[np.int64]
    conventions: Conventions
    closing: EyeSamples | None = None

    def batches(self, model: str) -> Iterator[Arrays]:
        """Yield the inputs of a model in batches of `FITTING_BATCH` examples."""
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
    """Choose the pairs for an export. The pairs are balanced over subjects and head poses.

    Args:
        compared: Eyes for the comparison.
        calibration: Eyes of other people for the calibration. `None` for a float export.
        estimator: Keras estimator of the run.
        conventions: Scales of the network inputs.
        fitting_steps: Number of QAT steps. 0 disables QAT. QAT uses the people in the calibration
            data. If these people have too few pairs, some pairs are used more than once.
        closing: Closing eyes for the estimator's inputs. `None` if the estimator does not predict
            the eye state.

    Raises:
        DataError: If a person is in both the comparison and the calibration data, or if there is no
            pair.
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

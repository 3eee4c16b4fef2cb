"""Which eyes and people a quantiser sees, and which ones a file is compared on.

Ranges that were calibrated on a person fit that person: a proof on the same one, even on other
pairs, flatters the file. Names identify people, across sources too: two folders may hold
patches of the same recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs
from mggr_export.arrays import ModelInputs
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

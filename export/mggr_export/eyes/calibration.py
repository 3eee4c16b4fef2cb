"""Which eyes a quantiser sees, and which ones an artifact is then compared on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.contract import Conventions
from mggr_edge.models.network_io import estimator_inputs
from mggr_export.arrays import ModelInputs
from mggr_tf.data.pairs import pair_table
from mggr_tf.data.schema import EyeSamples
from mggr_tf.evaluation.redirect_pairs import pair_inputs

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

"""Choose random pairs of eye patches inside the TensorFlow graph.

A patch is an image of one eye. A pair consists of two patches with the same subject, side and head
pose: the source and the target. The redirector learns to change the gaze of the source to the gaze
of the target.

Every batch depends only on the seed and the number of the step. A resumed run therefore uses the
same batches as a run without interruption. No Python generator is used, because it would slow down
the training step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.closing_eyes import EyeStates
from mggr_tf.data.pair_inputs import DrawnPairs, PairInputs
from mggr_tf.data.rows import Rows, Shares
from mggr_tf.data.schema import EyeSamples


@dataclass(frozen=True)
class PairTable:
    """A table of the patches that can be paired. G is the number of groups.

    A group contains patches of the same subject, side and head pose.

    Attributes:
        members: [G, M] int32, indices of the patches of each group. In a small group, the indices
            are repeated until there are M indices.
        counts: [G] int32, number of patches of each group without repetitions, at least 2.
        groups: [G] int32, group numbers in the samples.
    """

    members: NDArray[np.int32]
    counts: NDArray[np.int32]
    groups: NDArray[np.int32]


def pair_table(samples: EyeSamples) -> PairTable:
    """Return the table of groups with at least two patches.

    Raises:
        DataError: no group has two patches.
    """
    numbers, counts = np.unique(samples.group, return_counts=True)
    numbers = numbers[counts >= 2]
    groups = [np.flatnonzero(samples.group == g) for g in numbers]
    if not groups:
        raise DataError(
            f"{samples.source}: no two patches have the same subject, side and head pose; "
            "training needs pairs",
            code="no-pairs",
            source=samples.source,
        )
    width = max(len(g) for g in groups)
    members = np.stack([np.resize(g, width) for g in groups]).astype(np.int32)
    return PairTable(
        members, np.asarray([len(g) for g in groups], np.int32), numbers.astype(np.int32)
    )


def all_pairs(samples: EyeSamples, *, limit: int, seed: int) -> NDArray[np.int64]:
    """Return pairs for evaluation: all pairs, or a random subset of `limit` pairs.

    (a, b) and (b, a) are two different pairs.

    Args:
        samples: patches to pair.
        limit: maximum number of pairs.
        seed: seed of the random subset.

    Returns:
        [P, 2] indices, (source, target).
    """
    table = pair_table(samples)
    # Each pair has a number, and the code chooses numbers. A list of all pairs would be too long: a
    # group of thousands of patches has millions of pairs.
    ends = np.cumsum(table.counts.astype(np.int64) * (table.counts - 1))
    total = int(ends[-1])
    if total > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    else:
        chosen = np.arange(total)
    group = np.searchsorted(ends, chosen, side="right")
    others = table.counts[group].astype(np.int64) - 1
    within = chosen - (ends[group] - others * (others + 1))
    first, second = within // others, within % others
    second += second >= first  # A patch must not be paired with itself.
    return np.stack([table.members[group, first], table.members[group, second]], 1).astype(np.int64)


def pair_dataset(
    samples: EyeSamples,
    *,
    shares: Shares,
    seed: int,
    steps: tuple[int, int],
    augmentation: Augmentation,
    conventions: Conventions,
    with_flow: bool = False,
    with_landmarks: bool = False,
    with_state: bool = False,
    closing: Closing | None = None,
) -> tf.data.Dataset:
    """Return a dataset of the batches of a range of steps.

    The dataset contains only the rows of the batches that this process creates. It yields one
    element per step and local replica (device). Each element is a dict of float32 tensors. The
    names of the tensors are:

    `eye` and `target` [B, H, W, 3] in [-1, 1], `gazemap` [B, H, W, 2], `delta` and `head_pose` [B,
    2]. `source_gaze` and `target_gaze` [B, 2] are in degrees.

    With `with_flow`, there are also `flow` [B, H, W, 2] in pixels, and `flow_seen` [B, H, W].
    `flow_seen` is 1 for pixels with a known flow, and 0 for all other pixels.

    With `with_landmarks`, there are also `source_landmarks` and `target_landmarks` [B, K, 2] in
    pixels.

    With `closing` or `with_state`, there are also `source_state` and `target_state` [B, 3], and
    `source_gaze_weight` and `target_gaze_weight` [B]. An unknown value of a state is NaN. For the
    weights, see `mggr_tf.data.closing_eyes.gaze_weight`.

    Args:
        samples: samples from which the pairs are chosen.
        shares: batch size, and the rows of the batch that this process creates.
        seed: seed of the random pairs.
        steps: range of steps, [first, last).
        augmentation: settings of the random changes.
        conventions: sizes and scales.
        with_flow, with_landmarks, with_state: whether to add more tensors, see above.
        closing: closing eyes for a fraction of the pairs, to train the output of the eye state.
            `None` uses no closing eyes.

    Raises:
        DataError: no group has two patches.
        DataError: the flow or the landmarks are required but unknown.
    """
    if with_flow and samples.flows is None:
        raise DataError(
            f"{samples.source} contains no exact flow, but the loss 'exact_flow' requires it: "
            "train on `synthetic`, or set the weight of the loss 'exact_flow' to 0",
            code="flow-unknown",
            source=samples.source,
            loss="exact_flow",
        )
    tables = _Tables(
        samples,
        with_flow=with_flow,
        with_landmarks=with_landmarks,
        with_state=with_state or closing is not None,
    )
    mix = Mix(closing, with_landmarks=with_landmarks)
    as_inputs = PairInputs(augmentation, conventions)

    def draw(element: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = shares.rows_of(element)
        seeds = tf.random.experimental.stateless_split([seed, shares.step_of(element)], 4)
        drawn = mix(tables.draw(seeds[:3], rows), seed=seeds[0], rows=rows)
        return as_inputs(drawn, seed=seeds[3], rows=rows)

    return (
        tf.data.Dataset.range(*shares.elements(steps))
        .map(draw, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )


@dataclass(frozen=True)
class Closing:
    """Closing eyes that replace a fraction of the pairs.

    Closing eyes are synthetic eyes at any stage from open to closed.

    Attributes:
        samples: closing eyes with landmarks, lid regions and states.
        share: fraction of the pairs that are replaced, in (0, 1].
    """

    samples: EyeSamples
    share: float


class Mix:
    """Replaces a fraction of the pairs by pairs of closing eyes.

    Args:
        closing: closing eyes, and the fraction of the pairs to replace. `None` leaves all pairs
            unchanged.
        with_landmarks: whether the pairs have landmarks.
    """

    def __init__(self, closing: Closing | None, *, with_landmarks: bool = False) -> None:
        self._share = 0.0 if closing is None else closing.share
        self._tables = (
            None
            if closing is None
            else _Tables(closing.samples, with_landmarks=with_landmarks, with_state=True)
        )

    def __call__(self, drawn: DrawnPairs, *, seed: tf.Tensor, rows: Rows) -> DrawnPairs:
        """Replace some of the pairs, and return all pairs.

        Args:
            drawn: pairs with states.
            seed: [2] integers, seed of the whole batch.
            rows: rows of the batch that the pairs belong to.
        """
        if self._tables is None:
            return drawn
        seeds = tf.random.experimental.stateless_split(seed + [0, 105], 4)
        others = self._tables.draw(seeds[:3], rows)
        chosen = rows.uniform([], seeds[3]) < self._share

        def mixed(one: tf.Tensor | None, other: tf.Tensor | None) -> tf.Tensor | None:
            if one is None or other is None:
                return None
            return tf.where(tf.reshape(chosen, [-1] + [1] * (len(one.shape) - 1)), other, one)

        return tf.nest.map_structure(mixed, drawn, others)


class _Tables:
    """Stores samples as constants in the TensorFlow graph, and chooses pairs from the samples."""

    def __init__(
        self,
        samples: EyeSamples,
        *,
        with_flow: bool = False,
        with_landmarks: bool = False,
        with_state: bool = False,
    ) -> None:
        table = pair_table(samples)
        self._images = tf.constant(samples.images)
        self._gaze, self._head = tf.constant(samples.gaze_deg), tf.constant(samples.head_deg)
        self._members, self._counts = tf.constant(table.members), tf.constant(table.counts)
        self._numbers = tf.constant(table.groups)
        self._flows = tf.constant(samples.flows) if with_flow else None
        self._landmarks = tf.constant(samples.known_landmarks()) if with_landmarks else None
        self._with_state = with_state
        known = samples.state is not None and samples.lid_region is not None
        self._state = tf.constant(samples.state) if with_state and known else None
        self._regions = tf.constant(samples.lid_region) if with_state and known else None

    def draw(self, seeds: tf.Tensor, rows: Rows) -> DrawnPairs:
        """Choose a random pair for each row.

        Args:
            seeds: [3, 2] integers, seeds of the whole batch.
            rows: rows of the batch to create.
        """
        group = _below(tf.shape(self._counts)[0], rows.uniform([], seeds[0]))
        first, second = two_different(tf.gather(self._counts, group), seeds[1], seeds[2], rows)
        source = tf.gather_nd(self._members, tf.stack([group, first], 1))
        target = tf.gather_nd(self._members, tf.stack([group, second], 1))
        both = tf.stack([source, target], 1)
        drawn = DrawnPairs(
            images=(tf.gather(self._images, source), tf.gather(self._images, target)),
            gaze_deg=(tf.gather(self._gaze, source), tf.gather(self._gaze, target)),
            head_deg=tf.gather(self._head, source),
        )
        if self._flows is not None:
            drawn = drawn._replace(codes=_codes(self._flows, self._numbers, group, first, second))
        if self._landmarks is not None:
            drawn = drawn._replace(landmarks=_of_both(self._landmarks, source, target))
        if self._state is not None:
            states = EyeStates(tf.gather(self._state, both), tf.gather(self._regions, both))
            return drawn._replace(state=states)
        return drawn.with_usual_state(self._images.shape[1]) if self._with_state else drawn


def two_different(
    counts: tf.Tensor, first_seed: tf.Tensor, second_seed: tf.Tensor, rows: Rows
) -> tuple[tf.Tensor, tf.Tensor]:
    """Choose two different random integers in [0, n), for each n in `counts`.

    Args:
        counts: [B] int32, each at least 2.
        first_seed, second_seed: [2] integers, seeds of the whole batch.
        rows: rows of the batch to create.

    Returns:
        two tensors [B] int32.
    """
    first = _below(counts, rows.uniform([], first_seed))
    # The second integer is the first plus 1 to n - 1, modulo n. The two are always different.
    stride = 1 + _below(counts - 1, rows.uniform([], second_seed))
    return first, (first + stride) % counts


def _codes(
    flows: tf.Tensor, numbers: tf.Tensor, group: tf.Tensor, first: tf.Tensor, second: tf.Tensor
) -> tf.Tensor:
    """Return the flow codes [B, H, W, 2] of the pairs."""
    return tf.gather_nd(flows, tf.stack([tf.gather(numbers, group), first, second], 1))


def _of_both(landmarks: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return [B, 2 K, 2], the landmarks of the source and then the landmarks of the target."""
    return tf.concat([tf.gather(landmarks, source), tf.gather(landmarks, target)], 1)


def _below(limit: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """Convert random numbers `unit` [B] in [0, 1) to integers [B] int32 in [0, limit)."""
    return tf.minimum(tf.cast(unit * tf.cast(limit, tf.float32), tf.int32), limit - 1)

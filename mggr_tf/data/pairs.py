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
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_edge.models.contract import Conventions
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.augment import Gazemap, augment_pair
from mggr_tf.data.closing_eyes import EyeStates, gaze_weight
from mggr_tf.data.rows import Rows, Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.drawn_eyes.flow import PER_PIXEL, UNSEEN
from mggr_tf.drawn_eyes.lids import USUAL_REGION

_SOURCE_ERROR = 4
_HEAD_ERROR = 5
"""The random errors of source gazes and of head poses have their own seeds. To get such a seed, one
of these numbers is combined with the seed of the batch."""


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


class DrawnPairs(NamedTuple):
    """The chosen pairs, before augmentation.

    Attributes:
        images: two tensors [B, H, W, 3] uint8. The first contains the sources, the second contains
            the targets.
        gaze_deg: two tensors [B, 2] float32, gazes of the sources and of the targets in degrees.
        head_deg: [B, 2] float32, head poses in degrees. Source and target have the same head pose.
        codes: [B, H, W, 2] int8, the flow between source and target (`flow_codes`).
        landmarks: [B, 2 K, 2] pixels, the landmarks of the source and then the landmarks of the
            target.
        state: eye states of source and target.
    """

    images: tuple[tf.Tensor, tf.Tensor]
    gaze_deg: tuple[tf.Tensor, tf.Tensor]
    head_deg: tf.Tensor
    codes: tf.Tensor | None = None
    landmarks: tf.Tensor | None = None
    state: EyeStates | None = None

    def with_usual_state(self, size_px: int) -> DrawnPairs:
        """Add eye states to pairs whose lids and iris are unknown.

        The lid region is the average lid region. The occlusion is 0, because no occluders have been
        added yet. All other values of the state are NaN.
        """
        pairs = self.head_deg.shape[0]
        values = tf.constant([float("nan"), float("nan"), 0.0])
        usual = tf.constant(USUAL_REGION, tf.float32) * (size_px / DEFAULT_SIZE_PX)
        return self._replace(
            state=EyeStates(
                tf.tile(values[None, None], [pairs, 2, 1]),
                tf.tile(usual[None, None], [pairs, 2, 1, 1]),
            )
        )


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


class PairInputs:
    """Converts pairs of patches to the tensors of a training step. See `pair_dataset`.

    Args:
        augmentation: settings of the random changes.
        conventions: sizes and scales.
    """

    def __init__(self, augmentation: Augmentation, conventions: Conventions) -> None:
        self._how, self._conventions = augmentation, conventions
        self._gazemap = Gazemap(
            size_px=conventions.patch_size,
            k=conventions.gazemap_k,
            edge_px=conventions.gazemap_edge_px,
        )

    def __call__(self, drawn: DrawnPairs, *, seed: tf.Tensor, rows: Rows) -> dict[str, tf.Tensor]:
        """Return the tensors of the pairs.

        Args:
            drawn: pairs before augmentation.
            seed: [2] integers, seed of the augmentation of the whole batch.
            rows: rows of the batch that the pairs belong to.
        """
        changed = augment_pair(
            *drawn.images,
            seed=seed,
            how=self._how,
            rows=rows,
            codes=drawn.codes,
            landmarks=drawn.landmarks,
            state=drawn.state,
        )
        flow = {} if changed.codes is None else _flow_of(changed.codes)
        points = {} if changed.landmarks is None else _landmarks_of(changed.landmarks)
        states = {} if changed.state is None else _states_of(changed.state)
        source_deg, target_deg = drawn.gaze_deg
        said_deg = source_deg + _error(self._how.source_gaze_deg, seed, _SOURCE_ERROR, rows)
        head_deg = drawn.head_deg + _error(self._how.head_pose_deg, seed, _HEAD_ERROR, rows)
        return {
            "eye": changed.source,
            "target": changed.target,
            "gazemap": self._gazemap(target_deg),
            "delta": (target_deg - said_deg) / tf.constant(self._conventions.delta_scale_deg),
            "head_pose": head_deg / self._conventions.head_pose_scale_deg,
            "source_gaze": source_deg,
            "target_gaze": target_deg,
            **flow,
            **points,
            **states,
        }


def _error(deviation_deg: float, seed: tf.Tensor, stream: int, rows: Rows) -> tf.Tensor | float:
    """Return random errors [B, 2] in degrees, or 0 if the deviation is 0."""
    if not deviation_deg:
        return 0.0
    own = tf.random.experimental.stateless_fold_in(seed, stream)
    return deviation_deg * rows.normal([2], own)


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


def _flow_of(codes: tf.Tensor) -> dict[str, tf.Tensor]:
    known = tf.cast(codes[..., :1] != UNSEEN, tf.float32)
    flow = tf.cast(codes, tf.float32) / PER_PIXEL * known
    return {"flow": flow, "flow_seen": known[..., 0]}


def _of_both(landmarks: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return [B, 2 K, 2], the landmarks of the source and then the landmarks of the target."""
    return tf.concat([tf.gather(landmarks, source), tf.gather(landmarks, target)], 1)


def _landmarks_of(both: tf.Tensor) -> dict[str, tf.Tensor]:
    source, target = tf.split(both, 2, axis=1)
    return {"source_landmarks": source, "target_landmarks": target}


def _states_of(both: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the states and the gaze weights by name. `both` [B, 2, 3] contains the states."""
    weights = gaze_weight(both)
    return {
        f"{name}_{what}": of_both[:, place]
        for what, of_both in (("state", both), ("gaze_weight", weights))
        for place, name in enumerate(("source", "target"))
    }


def _below(limit: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """Convert random numbers `unit` [B] in [0, 1) to integers [B] int32 in [0, limit)."""
    return tf.minimum(tf.cast(unit * tf.cast(limit, tf.float32), tf.int32), limit - 1)

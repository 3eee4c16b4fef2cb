"""Pairs of patches, drawn inside the TensorFlow graph.

A pair is two patches of one subject, side and head pose. Every batch is a pure
function of (seed, step): a resumed run sees what the unbroken one would have
seen, and no Python generator stands between memory and the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.contract import Conventions
from mggr_edge.errors import DataError
from mggr_tf.data.augment import augment_pair
from mggr_tf.data.augment_config import Augmentation
from mggr_tf.data.flow_codes import PER_PIXEL, UNSEEN
from mggr_tf.data.schema import EyeSamples
from mggr_tf.models.gazemap import Gazemap


@dataclass(frozen=True)
class PairTable:
    """Which patches may be paired.

    Attributes:
        members: [G, M] int32, indices of each group's patches, padded by repetition.
        counts: [G] int32, how many of them are real; at least 2.
        groups: [G] int32, their numbers in the samples.
    """

    members: NDArray[np.int32]
    counts: NDArray[np.int32]
    groups: NDArray[np.int32]


def pair_table(samples: EyeSamples) -> PairTable:
    """Groups of at least two patches.

    Raises:
        DataError: no group has two.
    """
    numbers, counts = np.unique(samples.group, return_counts=True)
    numbers = numbers[counts >= 2]
    groups = [np.flatnonzero(samples.group == g) for g in numbers]
    if not groups:
        raise DataError(
            f"{samples.source}: no two patches share subject, side and head pose; "
            "training needs pairs"
        )
    width = max(len(g) for g in groups)
    members = np.stack([np.resize(g, width) for g in groups]).astype(np.int32)
    return PairTable(
        members, np.asarray([len(g) for g in groups], np.int32), numbers.astype(np.int32)
    )


def all_pairs(samples: EyeSamples, *, limit: int, seed: int) -> NDArray[np.int64]:
    """Ordered pairs for evaluation: every one, or a seeded choice of `limit`.

    Returns:
        [P, 2] indices, (source, target).
    """
    table = pair_table(samples)
    # Counted, not listed: thousands of patches in a group make millions of pairs.
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
    second += second >= first  # a patch is no partner of its own
    return np.stack([table.members[group, first], table.members[group, second]], 1).astype(np.int64)


def pair_dataset(
    samples: EyeSamples,
    *,
    batch: int,
    seed: int,
    steps: tuple[int, int],
    augmentation: Augmentation,
    conventions: Conventions,
    with_flow: bool = False,
    with_landmarks: bool = False,
) -> tf.data.Dataset:
    """Batches for steps [first, last).

    Each element is a dict of float32 tensors: eye and target [B, H, W, 3] in
    [-1, 1], gazemap [B, H, W, 2], delta and head_pose [B, 2], source_gaze and
    target_gaze [B, 2] in degrees. With `with_flow` also flow [B, H, W, 2] in pixels and
    flow_seen [B, H, W], 1 where the flow is known, else 0. With `with_landmarks` also
    source_landmarks and target_landmarks [B, K, 2] in pixels.

    Raises:
        DataError: no group has two patches, or nobody knows their flow or landmarks.
    """
    if with_flow and samples.flows is None:
        raise DataError(
            f"{samples.source} does not say what moved where, which loss 'exact_flow' learns "
            "from: train on `synthetic`, or give that loss weight 0"
        )
    table = pair_table(samples)
    images = tf.constant(samples.images)
    gaze, head = tf.constant(samples.gaze_deg), tf.constant(samples.head_deg)
    members, counts = tf.constant(table.members), tf.constant(table.counts)
    numbers = tf.constant(table.groups)
    flows = tf.constant(samples.flows) if with_flow else None
    landmarks = tf.constant(samples.known_landmarks()) if with_landmarks else None
    gazemap = Gazemap(
        size_px=conventions.patch_size,
        k=conventions.gazemap_k,
        edge_px=conventions.gazemap_edge_px,
    )

    def draw(step: tf.Tensor) -> dict[str, tf.Tensor]:
        seeds = tf.random.experimental.stateless_split([seed, step], 4)
        group = _uniform(batch, seeds[0], tf.shape(counts)[0])
        first = _uniform(batch, seeds[1], tf.gather(counts, group))
        # Another member: a step of 1 .. n-1 round the circle never lands on itself.
        stride = 1 + _uniform(batch, seeds[2], tf.gather(counts, group) - 1)
        second = (first + stride) % tf.gather(counts, group)
        source = tf.gather_nd(members, tf.stack([group, first], 1))
        target = tf.gather_nd(members, tf.stack([group, second], 1))
        changed = augment_pair(
            tf.gather(images, source),
            tf.gather(images, target),
            seed=seeds[3],
            how=augmentation,
            codes=None if flows is None else _codes(flows, numbers, group, first, second),
            landmarks=None if landmarks is None else _of_both(landmarks, source, target),
        )
        flow = {} if changed.codes is None else _flow_of(changed.codes)
        points = {} if changed.landmarks is None else _landmarks_of(changed.landmarks)
        source_deg, target_deg = tf.gather(gaze, source), tf.gather(gaze, target)
        return {
            "eye": changed.source,
            "target": changed.target,
            "gazemap": gazemap(target_deg),
            "delta": (target_deg - source_deg) / tf.constant(conventions.delta_scale_deg),
            "head_pose": tf.gather(head, source) / conventions.head_pose_scale_deg,
            "source_gaze": source_deg,
            "target_gaze": target_deg,
            **flow,
            **points,
        }

    return (
        tf.data.Dataset.range(steps[0], steps[1])
        .map(draw, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )


def _codes(
    flows: tf.Tensor, numbers: tf.Tensor, group: tf.Tensor, first: tf.Tensor, second: tf.Tensor
) -> tf.Tensor:
    """[B, H, W, 2] codes of each pair's flow."""
    return tf.gather_nd(flows, tf.stack([tf.gather(numbers, group), first, second], 1))


def _flow_of(codes: tf.Tensor) -> dict[str, tf.Tensor]:
    known = tf.cast(codes[..., :1] != UNSEEN, tf.float32)
    flow = tf.cast(codes, tf.float32) / PER_PIXEL * known
    return {"flow": flow, "flow_seen": known[..., 0]}


def _of_both(landmarks: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """[B, 2 K, 2] of the source, then of the target."""
    return tf.concat([tf.gather(landmarks, source), tf.gather(landmarks, target)], 1)


def _landmarks_of(both: tf.Tensor) -> dict[str, tf.Tensor]:
    source, target = tf.split(both, 2, axis=1)
    return {"source_landmarks": source, "target_landmarks": target}


def _uniform(batch: int, seed: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """[B] int32 in [0, below)."""
    unit = tf.random.stateless_uniform([batch], seed)
    scaled = tf.cast(unit * tf.cast(below, tf.float32), tf.int32)
    return tf.minimum(scaled, below - 1)

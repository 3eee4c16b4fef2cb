"""Convert pairs of patches to the tensors of a training step.

A patch is an image of one eye. A pair consists of two patches with the same subject, side and head
pose: the source and the target.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.augment import Gazemap, augment_pair
from mggr_tf.data.closing_eyes import EyeStates, gaze_weight
from mggr_tf.data.rows import Rows
from mggr_tf.drawn_eyes.flow import PER_PIXEL, UNSEEN
from mggr_tf.drawn_eyes.rendered import USUAL_REGION

_SOURCE_ERROR = 4
_HEAD_ERROR = 5
_SHRINK = 6
"""The random errors and factors of source gazes, and the random errors of head poses, have their
own seeds. To get such a seed, one of these numbers is combined with the seed of the batch."""


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
        """Return a copy with default eye states, for patches without measured lids and iris.

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


class PairInputs:
    """Converts pairs of patches to the tensors of a training step; see `pairs.pair_dataset`.

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
        said_deg = self._estimated(source_deg, seed, rows)
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

    def _estimated(self, source_deg: tf.Tensor, seed: tf.Tensor, rows: Rows) -> tf.Tensor:
        """Return the source gazes [B, 2] with the random errors of an estimator, in degrees."""
        how = self._how
        shrink = (how.source_pitch_shrink, how.source_yaw_shrink)
        if any(shrink):
            own = tf.random.experimental.stateless_fold_in(seed, _SHRINK)
            source_deg *= 1 - tf.constant(shrink) * rows.uniform([2], own)
        return source_deg + _error(how.source_gaze_deg, seed, _SOURCE_ERROR, rows)


def _error(deviation_deg: float, seed: tf.Tensor, stream: int, rows: Rows) -> tf.Tensor | float:
    """Return random errors [B, 2] in degrees, or 0 if the deviation is 0."""
    if not deviation_deg:
        return 0.0
    own = tf.random.experimental.stateless_fold_in(seed, stream)
    return deviation_deg * rows.normal([2], own)


def _flow_of(codes: tf.Tensor) -> dict[str, tf.Tensor]:
    known = tf.cast(codes[..., :1] != UNSEEN, tf.float32)
    flow = tf.cast(codes, tf.float32) / PER_PIXEL * known
    return {"flow": flow, "flow_seen": known[..., 0]}


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

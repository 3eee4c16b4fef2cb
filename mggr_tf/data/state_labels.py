"""Labels of the state of eyes (`mggr_edge.models.network_io`) inside the TensorFlow graph.

A value that is NaN is unknown, and what is made of it is unknown too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from mggr_tf.data.occluders import covered_share, filled

_COARSER = 2
"""Pixels of a picture along one of those in which an occlusion is measured."""
_IRIS_NEEDED = (0.1, 0.35)
_COVER_ALLOWED = (0.4, 0.75)


class EyeStates(NamedTuple):
    """States of the eyes of pairs.

    Attributes:
        values: [B, 2, 3] in the order of `schema.STATES`, of the sources and the targets.
        regions: [B, 2, 16, 2] pixels, the polygons of `lid_region` that occlusion is measured in.
    """

    values: tf.Tensor
    regions: tf.Tensor


def with_openness(values: tf.Tensor, taller: tf.Tensor) -> tf.Tensor:
    """[B, 2, 3] the states of eyes that were stretched.

    Args:
        taller: [B] what their openness is multiplied by.
    """
    openness = tf.clip_by_value(values[..., :1] * taller[:, None, None], 0, 1)
    return tf.concat([openness, values[..., 1:]], -1)


def with_occlusion(values: tf.Tensor, cover: tf.Tensor, regions: Sequence[tf.Tensor]) -> tf.Tensor:
    """[B, P, 3] the states of eyes behind occluders, beside what covered them before.

    Args:
        values: [B, P, 3].
        cover: [B, H, W] in [0, 1], which all pictures of a row share.
        regions: P times [B, 16, 2] pixels.
    """
    # Coarser pixels serve as well, at a quarter of the work.
    coarse = tf.nn.avg_pool2d(cover[..., None], _COARSER, _COARSER, "VALID")[..., 0]
    size = coarse.shape[1], coarse.shape[2]
    middle = (_COARSER - 1) / 2
    masks = [filled((one - middle) / _COARSER, size) for one in regions]
    covered = tf.stack([covered_share(coarse, mask) for mask in masks], 1)
    occlusion = 1 - (1 - values[..., 2]) * (1 - covered)
    return tf.concat([values[..., :2], occlusion[..., None]], -1)


def gaze_weight(values: tf.Tensor) -> tf.Tensor:
    """[...] how much a gaze label counts, from the state [..., 3] of the eye.

    0 where less than a tenth of the iris or a quarter of the eye is to be seen: nobody can say
    where such an eye looks. 1 from about a third of the iris and three fifths of the eye on. What
    is unknown counts as seen.
    """
    known = tf.where(tf.math.is_nan(values), tf.constant([1.0, 1.0, 0.0]), values)
    least, enough = _IRIS_NEEDED
    iris = tf.clip_by_value((known[..., 1] - least) / (enough - least), 0, 1)
    little, most = _COVER_ALLOWED
    free = tf.clip_by_value((most - known[..., 2]) / (most - little), 0, 1)
    return iris * free

"""Random views of pictures, so that no single network's blind spots can be learned.

A redirector that is trained against one fixed feature network finds patterns that
please it and nobody else. Seen closer and further, turned, mirrored, shifted and
with its colours exchanged, anew in every step, the network is an ensemble that has
fewer of them [1]. Seen closer, its strided first level sees single pixels too.

References:
    [1] Kettunen, Härkönen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity via
        Random Transformation Ensembles, 2019.
"""

from __future__ import annotations

import math

import tensorflow as tf

MARGIN_PX = 8
"""The widest view is so much smaller than its picture."""

LARGEST_ZOOM = 3.0
"""How many pixels of the closest view show one of the picture, along each side."""


def random_view(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One and the same random view of all pictures of a batch.

    Args:
        pictures: [B, H, W, C], H = W; of what is to be compared, with one and the same seed.
        seed: [2] integers; the view is a pure function of it.

    Returns:
        [B, H - MARGIN_PX, W - MARGIN_PX, C]: a square cut out anywhere, enlarged to
        this size (zooms are spread evenly on a logarithmic scale), perhaps transposed
        and mirrored, its channels in some order.
    """
    seeds = tf.random.experimental.stateless_split(seed, 4)
    channels = pictures.shape[-1]
    view = _closer(pictures, seeds[0], seeds[3])
    coins = tf.random.stateless_uniform([3], seeds[1]) < 0.5
    view = tf.where(coins[0], tf.reverse(view, [1]), view)
    view = tf.where(coins[1], tf.reverse(view, [2]), view)
    view = tf.where(coins[2], tf.transpose(view, [0, 2, 1, 3]), view)
    order = tf.argsort(tf.random.stateless_uniform([channels], seeds[2]))
    return tf.gather(view, order, axis=-1)


def _closer(pictures: tf.Tensor, place: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
    size = pictures.shape[1]
    shown = size - MARGIN_PX
    zoom = tf.exp(tf.random.stateless_uniform([], distance) * math.log(LARGEST_ZOOM))
    side = tf.cast(tf.round(shown / zoom), tf.int32)
    corner = tf.random.stateless_uniform([2], place, 0, size - side + 1, tf.int32)
    cut = pictures[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    return tf.image.resize(cut, (shown, shown), method="bicubic")

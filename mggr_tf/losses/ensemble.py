"""Random views of pictures, so that no single network's blind spots can be learned.

A redirector that is trained against one fixed feature network finds patterns that
please it and nobody else. Seen turned, mirrored, shifted and with its colours
exchanged, anew in every step, the network is an ensemble that has fewer of them [1].

References:
    [1] Kettunen, Härkönen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity via
        Random Transformation Ensembles, 2019.
"""

from __future__ import annotations

import tensorflow as tf

MARGIN_PX = 8
"""Views are so much smaller than their picture, and lie anywhere in it."""


def random_view(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One and the same random view of all pictures of a batch.

    Args:
        pictures: [B, H, W, C], H = W; what is to be compared must stand in one batch.
        seed: [2] integers; the view is a pure function of it.

    Returns:
        [B, H - MARGIN_PX, W - MARGIN_PX, C]: cut out, perhaps transposed and
        mirrored, its channels in some order.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    batch, height, width, channels = pictures.shape
    corner = tf.random.stateless_uniform([2], seeds[0], 0, MARGIN_PX + 1, tf.int32)
    size = (height - MARGIN_PX, width - MARGIN_PX)
    view = pictures[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    view = tf.ensure_shape(view, [batch, *size, channels])
    coins = tf.random.stateless_uniform([3], seeds[1]) < 0.5
    view = tf.where(coins[0], tf.reverse(view, [1]), view)
    view = tf.where(coins[1], tf.reverse(view, [2]), view)
    view = tf.where(coins[2], tf.transpose(view, [0, 2, 1, 3]), view)
    order = tf.argsort(tf.random.stateless_uniform([channels], seeds[2]))
    return tf.gather(view, order, axis=-1)

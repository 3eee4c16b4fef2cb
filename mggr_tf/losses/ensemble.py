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

from mggr_tf.models.warp import read_bicubic

MARGIN_PX = 8
"""The widest view is so much smaller than its picture."""

LARGEST_ZOOM = 3.0
"""How many pixels of the closest view show one of the picture, along each side."""


SMALLEST_TURNED_ZOOM = 1.5
"""Closer than this a turned view fits into its picture at any angle."""


def random_view(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One and the same random view of all pictures of a batch.

    Args:
        pictures: [B, H, W, C], H = W; what is to be compared must stand in one batch.
        seed: [2] integers; the view is a pure function of it.

    Returns:
        [B, H - MARGIN_PX, W - MARGIN_PX, C]: a square of the picture enlarged to this
        size, its zoom spread evenly on a logarithmic scale. Every other view is turned by
        any angle; the others stand upright or are transposed, pixel on pixel where they
        are not enlarged. Any of them may be mirrored, has its channels in some order,
        and each channel's contrast reduced by up to a half.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    channels = pictures.shape[-1]
    coins = tf.random.stateless_uniform([2], seeds[0]) < 0.5
    view = tf.cond(
        coins[0], lambda: _upright(pictures, seeds[1]), lambda: _turned(pictures, seeds[1])
    )
    view = tf.where(coins[1], tf.reverse(view, [2]), view)
    chances = tf.random.stateless_uniform([2, channels], seeds[2])
    return tf.gather(view, tf.argsort(chances[0]), axis=-1) * (0.5 + 0.5 * chances[1])


def _upright(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    size = pictures.shape[1]
    shown = size - MARGIN_PX
    chances = tf.random.stateless_uniform([5], seed)
    side = tf.cast(tf.round(shown / _zoom(chances[0], 1.0)), tf.int32)
    corner = tf.cast(chances[1:3] * tf.cast(size - side + 1, tf.float32), tf.int32)
    cut = pictures[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    view = tf.image.resize(cut, (shown, shown), method="bicubic")
    view = tf.where(chances[3] < 0.5, tf.reverse(view, [1]), view)
    return tf.where(chances[4] < 0.5, tf.transpose(view, [0, 2, 1, 3]), view)


def _turned(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    size = pictures.shape[1]
    shown = size - MARGIN_PX
    chances = tf.random.stateless_uniform([4], seed)
    zoom, angle = _zoom(chances[0], SMALLEST_TURNED_ZOOM), 2 * math.pi * chances[1]
    across, down = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    reach = shown / zoom * math.sqrt(0.5)
    middle = reach + chances[2:] * (size - 2 * reach) - 0.5
    offset = (tf.range(shown, dtype=tf.float32) - (shown - 1) / 2)[None]
    x = middle[0] + across * offset[:, None, :] - down * offset[:, :, None]
    y = middle[1] + down * offset[:, None, :] + across * offset[:, :, None]
    # All pictures are read at the same places: as one picture of many channels.
    batch, channels = pictures.shape[0], pictures.shape[-1]
    stacked = tf.reshape(tf.transpose(pictures, [1, 2, 0, 3]), [1, size, size, batch * channels])
    view = tf.reshape(read_bicubic(stacked, x, y), [shown, shown, batch, channels])
    return tf.transpose(view, [2, 0, 1, 3])


def _zoom(chance: tf.Tensor, smallest: float) -> tf.Tensor:
    return smallest * tf.exp(chance * math.log(LARGEST_ZOOM / smallest))

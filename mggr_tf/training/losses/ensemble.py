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


_SHARPNESS = -0.5
"""Keys' parameter, as in `tf.image.resize`."""


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
    size, channels = pictures.shape[1], pictures.shape[-1]
    coins = tf.random.stateless_uniform([3], seeds[1]) < 0.5
    order = tf.argsort(tf.random.stateless_uniform([channels], seeds[2]))
    down, across = (
        tf.where(coin, matrix[::-1], matrix)
        for coin, matrix in zip(
            (coins[0], coins[1]), _closer(size, seeds[0], seeds[3]), strict=True
        )
    )
    # Products of matrices all: their way back is one too, where that of cutting out, mirroring
    # and gathering would fill zeros into whole pictures.
    view = _each_column(down, pictures)
    view = tf.matmul(across, view)
    view = tf.tensordot(view, tf.one_hot(order, channels, axis=0), 1)
    return tf.cond(coins[2], lambda: tf.transpose(view, [0, 2, 1, 3]), lambda: view)


def _each_column(matrix: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """[B, N, W, C] of [N, H] and [B, H, W, C]."""
    height, width, channels = pictures.shape[1:]
    columns = tf.reshape(pictures, [-1, height, width * channels])
    return tf.reshape(tf.matmul(matrix, columns), [-1, matrix.shape[0], width, channels])


def _closer(size: int, place: tf.Tensor, distance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What enlarges a random square to a view: along columns, along rows."""
    shown = size - MARGIN_PX
    zoom = tf.exp(tf.random.stateless_uniform([], distance) * math.log(LARGEST_ZOOM))
    side = tf.cast(tf.round(shown / zoom), tf.int32)
    corner = tf.random.stateless_uniform([2], place, 0, size - side + 1, tf.int32)
    return tuple(enlarging(size, corner[axis], side, shown=shown) for axis in (0, 1))


def enlarging(size: int, first: tf.Tensor, count: tf.Tensor, *, shown: int) -> tf.Tensor:
    """A matrix that enlarges some pixels of a row, bicubically, as `tf.image.resize` does.

    Args:
        size: of the row.
        first, count: [] int32, which pixels; others have no part in it.
        shown: how many are made of them.

    Returns:
        [shown, size] float32, each row's sum is 1.
    """
    count = tf.cast(count, tf.float32)
    at = (tf.range(shown, dtype=tf.float32) + 0.5) * (count / shown) - 0.5
    pixels = tf.range(size, dtype=tf.float32) - tf.cast(first, tf.float32)
    weights = _keys(tf.abs(pixels - at[:, None]))
    inside = (pixels >= 0) & (pixels < count)
    weights = tf.where(inside, weights, 0.0)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def _keys(d: tf.Tensor) -> tf.Tensor:
    """Weights at distances, pixels."""
    a = _SHARPNESS
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return tf.where(d < 1, near, tf.where(d < 2, far, 0.0))

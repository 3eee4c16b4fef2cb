"""Changes that drawn eyes undergo so that what is learned from them holds on photographs.

People's proportions and colours that no renderer draws; `occluders` has what lies before an eye.
As in `augment`, both pictures of a pair change in one and the same way, as pure functions of a
seed.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from mggr_tf.data.rows import Rows

_LEAST_VARIANCE = 1e-6


class Stretched(NamedTuple):
    """What `stretched` makes.

    Attributes:
        both: [B, H, W, 6], the pair.
        points: [B, K, 2] as they were given; None without any.
        taller: [B] what the openness of the eyes is multiplied by.
    """

    both: tf.Tensor
    points: tf.Tensor | None
    taller: tf.Tensor


def stretched(
    both: tf.Tensor, points: tf.Tensor | None, *, seed: tf.Tensor, limit: float, rows: Rows
) -> Stretched:
    """Makes eyes taller or flatter, wider or narrower, and their corners uneven.

    Args:
        both: [B, H, W, 6], the pair.
        points: [B, K, 2] pixels (x, y), which go along.
        limit: largest logarithm of the height's change; the width's is two thirds of it, and
            a pixel to the side lifts a point by up to half of it.
        rows: which rows of the batch these are.

    Returns:
        the pair, its borders repeated, and its points.
    """
    height, width = both.shape[1], both.shape[2]
    tall, wide, slant = tf.unstack(limit * rows.signed([], seed, before=(3,)))
    per_x, per_y = tf.exp(-2 / 3 * wide), tf.exp(-tall)
    slant = slant / 2
    x, y = (width - 1) / 2, (height - 1) / 2
    # Where each new pixel lies in the old picture, as rows of (x, y, 1).
    nothing = tf.zeros_like(tall)
    from_x = (per_x, nothing, x * (1 - per_x))
    from_y = (slant, per_y, y * (1 - per_y) - slant * x)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=both,
        transforms=tf.stack([*from_x, *from_y, nothing, nothing], 1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    moved = tf.ensure_shape(moved, both.shape)
    taller = tf.exp(tall - 2 / 3 * wide)
    if points is None:
        return Stretched(moved, None, taller)
    new_x = (points[..., 0] - from_x[2][:, None]) / per_x[:, None]
    lifted = slant[:, None] * new_x + from_y[2][:, None]
    new_y = (points[..., 1] - lifted) / per_y[:, None]
    return Stretched(moved, tf.stack([new_x, new_y], -1), taller)


def recoloured(both: tf.Tensor, *, seed: tf.Tensor, share: float, rows: Rows) -> tf.Tensor:
    """Mixes the colours at random, partly, and takes some of them out.

    Brightness and contrast stay as a whole; what was dark stays darker than what was light.

    Args:
        both: [B, H, W, 6] in [-1, 1], the pair.
        share: how many pairs are mixed, and most of what each may be mixed by.
        rows: which rows of the batch these are.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    matrix = rows.normal([3, 3], seeds[0])
    source, target = both[..., :3], both[..., 3:]
    mixed = tf.einsum("bhwk,bkc->bhwc", source, matrix)
    mean, variance = tf.nn.moments(source, [1, 2], keepdims=True)
    mixed_mean, mixed_variance = tf.nn.moments(mixed, [1, 2], keepdims=True)
    light = tf.reduce_mean(source - mean, -1, keepdims=True)
    agree = tf.reduce_sum((mixed - mixed_mean) * light, [1, 2], keepdims=True)
    gain = tf.where(agree < 0, -1.0, 1.0) * tf.sqrt(variance / (mixed_variance + _LEAST_VARIANCE))
    mixing, draining = tf.unstack(rows.uniform([1, 1, 1], seeds[1], before=(2,)))
    chosen = tf.cast(rows.uniform([1, 1, 1], seeds[2], before=(2,)) < share, tf.float32)
    mixing *= chosen[0]
    draining = (1 + draining) / 2 * chosen[1]

    def change(image: tf.Tensor) -> tf.Tensor:
        other = gain * (tf.einsum("bhwk,bkc->bhwc", image, matrix) - mixed_mean) + mean
        image = tf.clip_by_value(image + mixing * (other - image), -1, 1)
        return image + draining * (tf.reduce_mean(image, -1, keepdims=True) - image)

    return tf.concat([change(source), change(target)], -1)

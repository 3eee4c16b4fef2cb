"""Losses by other networks: the discriminator and gaze estimators.

A redirector that is trained against one fixed feature network finds patterns that
please it and nobody else. Seen closer and further, turned, mirrored, shifted and
with its colours exchanged, anew in every step, the network is an ensemble that has
fewer of them [5]. Seen closer, its strided first level sees single pixels too.

References:
    [1] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [2] Arjovsky, Chintala, Bottou, Wasserstein GAN, ICML 2017.
    [3] Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
        Converge?, ICML 2018, eq. 9 (R1).
    [4] Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017, eq. 3.
    [5] Kettunen, Härkönen, Lehtinen, E-LPIPS: Robust Perceptual Image Similarity via
        Random Transformation Ensembles, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from mggr_tf.config.stages import AdversaryConfig

_HALF = 0.5


def discriminator_loss(
    real: Mapping[str, tf.Tensor],
    fake: Mapping[str, tf.Tensor],
    *,
    real_gaze: tf.Tensor,
    how: AdversaryConfig,
    with_gaze: bool,
) -> tf.Tensor:
    """Realness by the rules of the game [1, 2], and the gaze error on real pictures, [B].

    The gaze head learns from real pictures only: what a generated one shows is
    its input, not its training.

    Args:
        real, fake: the discriminator's `realness` [B, h, w, 1] and `gaze` [B, 2].
        real_gaze: [B, 2], network units.
        how: the game.
        with_gaze: whether the discriminator has its second task.
    """
    if how.game == "hinge":
        score = tf.nn.relu(1.0 - real["realness"]) + tf.nn.relu(1.0 + fake["realness"])
    else:
        score = fake["realness"] - real["realness"]
    loss = tf.reduce_mean(score, [1, 2, 3])
    if with_gaze:
        off = tf.reduce_mean(tf.square(real["gaze"] - real_gaze), -1)
        loss += how.gaze_weight * off
    return loss


def gradient_penalty(
    realness: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    *,
    how: AdversaryConfig,
    mix: tf.Tensor,
) -> tf.Tensor:
    """What the discriminator pays for the steepness of its score, [B], unweighted.

    Args:
        realness: pictures to scores [B, h, w, 1], averaged into one per picture.
        real, fake: [B, H, W, 3].
        how: `real` takes half the squared gradient on real pictures [3], `between`
            the squared distance of its norm from 1 on blends of real and fake [4].
        mix: [B, 1, 1, 1] in [0, 1], the share of `real` in a blend.
    """
    at = real if how.penalty == "real" else mix * real + (1 - mix) * fake
    with tf.GradientTape() as tape:
        tape.watch(at)
        score = tf.reduce_mean(realness(at), [1, 2, 3])
    squares = tf.reduce_sum(tf.square(tape.gradient(score, at)), [1, 2, 3])
    if how.penalty == "real":
        return _HALF * squares
    return tf.square(tf.sqrt(squares + 1e-12) - 1.0)


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
        seed: [6] integers; the view is a pure function of it.

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

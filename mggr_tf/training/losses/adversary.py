"""The discriminator's own objective.

References:
    [1] Lim, Ye, Geometric GAN, 2017 (hinge loss).
    [2] Arjovsky, Chintala, Bottou, Wasserstein GAN, ICML 2017.
    [3] Mescheder, Geiger, Nowozin, Which Training Methods for GANs do actually
        Converge?, ICML 2018, eq. 9 (R1).
    [4] Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017, eq. 3.
"""

from __future__ import annotations

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

"""The discriminator's own objective."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def discriminator_loss(
    real: Mapping[str, tf.Tensor],
    fake: Mapping[str, tf.Tensor],
    *,
    real_gaze: tf.Tensor,
) -> tf.Tensor:
    """Hinge loss on realness (Lim, Ye 2017) plus squared gaze error on real pictures, [B].

    The gaze head learns from real pictures only: what a generated one shows is
    what it is asked about, not what it is taught.

    Args:
        real, fake: the discriminator's `realness` [B, h, w, 1] and `gaze` [B, 2].
        real_gaze: [B, 2], network units.
    """
    hinge = tf.nn.relu(1.0 - real["realness"]) + tf.nn.relu(1.0 + fake["realness"])
    angles = tf.reduce_mean(tf.square(real["gaze"] - real_gaze), -1)
    return tf.reduce_mean(hinge, [1, 2, 3]) + angles

"""Adam as every network of a run is trained with it: warm-up, cosine, clipped gradients."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_tf.training.schedule import WarmUpCosine

_CLIP_NORM = 5.0


def adam(
    peak: float,
    total: tf.Variable,
    variables: Iterable[tf.Variable],
    *,
    beta_1: float = 0.9,
    updates_a_step: int = 1,
) -> keras.optimizers.Optimizer:
    """Builds an optimizer whose variables exist at once, so that a checkpoint finds them.

    Args:
        peak: the highest learning rate.
        total: [] int64 variable, number of steps.
        variables: what it will train.
        beta_1: of the first moment.
        updates_a_step: how often it moves in each step.
    """
    schedule = WarmUpCosine(peak, total, updates_a_step=updates_a_step)
    optimizer = keras.optimizers.Adam(schedule, beta_1=beta_1, global_clipnorm=_CLIP_NORM)
    optimizer.build(list(variables))
    return optimizer


def apply(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    variables: list[tf.Variable],
) -> None:
    """One update; what the loss does not depend on stays as it is."""
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))

"""Optimizer, learning-rate schedule, loss scaling and moving average of the weights.

In float16, small gradients would be rounded to zero. Therefore the loss is multiplied by a loss
scale before the gradients are computed [1]. The loss scale is as large as possible. If the loss
scale is too large, some gradients are infinite or NaN. The optimizer then skips the update and
halves the loss scale. The update counter includes skipped updates.

References:
    [1] Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from mggr_tf.data.rows import Metrics
from mggr_tf.models.precision import EXACT, Precision

_WARM_UP = 0.04
_LAST = 0.02


@keras.utils.register_keras_serializable("mggr_tf")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Schedule of the learning rate: a linear warm-up, and then a cosine decay.

    The warm-up takes 4 % of the steps. The last learning rate is 2 % of the highest one.

    The total number of steps is a variable, because it can change after the first steps: If there
    is a time budget, the total is computed from the measured duration of the first steps. Because
    of the variable, TensorFlow does not need to trace the step again.

    Args:
        peak: highest learning rate.
        total: [] int64 variable with the total number of steps.
        updates_a_step: number of optimizer updates in each step.
    """

    def __init__(self, peak: float, total: tf.Variable, *, updates_a_step: int = 1) -> None:
        self.peak = peak
        self.total = total
        self.updates_a_step = updates_a_step

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate at the optimizer update `step`."""
        total = tf.cast(self.total * self.updates_a_step, tf.float32)
        at = tf.cast(step, tf.float32)
        warm = tf.maximum(_WARM_UP * total, 1.0)
        progress = tf.clip_by_value((at - warm) / tf.maximum(total - warm, 1.0), 0.0, 1.0)
        cosine = _LAST + (1 - _LAST) * 0.5 * (1 + tf.cos(math.pi * progress))
        return self.peak * tf.minimum((at + 1) / warm, cosine)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. `total` is converted to a number."""
        return {
            "peak": self.peak,
            "total": int(self.total),
            "updates_a_step": self.updates_a_step,
        }


_CLIP_NORM = 5.0


def adam(
    peak: float,
    total: tf.Variable,
    variables: Iterable[tf.Variable],
    *,
    beta_1: float = 0.9,
    updates_a_step: int = 1,
    precision: Precision = EXACT,
) -> keras.optimizers.Optimizer:
    """Return an Adam optimizer. The function also creates the variables of the optimizer.

    A checkpoint can restore these variables only if they exist.

    Args:
        peak: highest learning rate.
        total: [] int64 variable with the total number of steps.
        variables: variables to train.
        beta_1: decay of the first moment.
        updates_a_step: number of updates in each step.
        precision: precision of the gradients. `float16` enables loss scaling.
    """
    schedule = WarmUpCosine(peak, total, updates_a_step=updates_a_step)
    optimizer = keras.optimizers.Adam(schedule, beta_1=beta_1, global_clipnorm=_CLIP_NORM)
    if precision == "float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(list(variables))
    return optimizer


def apply(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    variables: list[tf.Variable],
) -> None:
    """Apply one optimizer update.

    If the loss does not depend on a variable, the gradient of this variable is 0.

    Args:
        optimizer: optimizer, with or without loss scaling.
        tape: gradient tape that has recorded the computation of the loss.
        loss: [] loss before loss scaling.
        variables: variables to update.
    """
    zero = tf.UnconnectedGradients.ZERO
    if _scales(optimizer):
        enlarged = optimizer.get_scaled_loss(tf.ones_like(loss))
        gradients = optimizer.get_unscaled_gradients(
            tape.gradient(loss, variables, output_gradients=enlarged, unconnected_gradients=zero)
        )
    else:
        gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def move_average(
    averaged: keras.Model, trained: keras.Model, *, decay: float, updates: tf.Tensor
) -> None:
    """Update the moving average of the weights of a model.

    Args:
        averaged: model with the averaged weights.
        trained: model with the trained weights.
        decay: decay of the moving average, in [0, 1).
        updates: [] number of optimizer updates of the trained model.
    """
    # The decay is small at the start, so that the initial weights soon have little influence on
    # the average.
    seen = tf.cast(updates, tf.float32)
    decay = tf.minimum(decay, (1.0 + seen) / (10.0 + seen))

    def move(slow: tf.Variable, fast: tf.Variable, decay: tf.Tensor) -> None:
        slow.assign_sub((1.0 - decay) * (slow - fast))

    def move_all(strategy: tf.distribute.Strategy, decay: tf.Tensor) -> None:
        # Each device has its own copy of the averages.
        for slow, fast in zip(averaged.variables, trained.variables, strict=True):
            strategy.extended.update(slow, move, args=(fast, decay))

    with tf.name_scope("moving_average"):
        tf.distribute.get_replica_context().merge_call(move_all, args=(decay,))


def optimizer_state(name: str, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return the optimizer and its loss scale, as a dict for a checkpoint.

    Without loss scaling, the dict contains only the optimizer. The keys begin with `name`.
    """
    scale = {f"{name}_loss_scale": _LossScale(optimizer)} if _scales(optimizer) else {}
    return {name: optimizer, **scale}


def scale_metrics(optimizer: keras.optimizers.Optimizer, *, replicas: int) -> Metrics:
    """Return the metric `loss_scale` for the log, divided by the number of devices.

    Without loss scaling, the result is empty.
    """
    return {"loss_scale": optimizer.loss_scale / replicas} if _scales(optimizer) else {}


class _LossScale(tf.Module):
    """Variables of a loss scale. Keras does not count them as variables of the optimizer."""

    def __init__(self, optimizer: keras.mixed_precision.LossScaleOptimizer) -> None:
        super().__init__()
        self._scale = optimizer._loss_scale.current_loss_scale
        self._good_steps = optimizer.dynamic_counter


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)

"""Optimizers and their learning-rate schedules.

In float16 small gradients would be rounded to zero; there the loss is enlarged for the way back
[1], as much as the gradients' largest values allow: an update that meets an infinite gradient is
left out, counts as one, and halves the scale.

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
from mggr_tf.models.blocks import EXACT, Precision

_WARM_UP = 0.04
_LAST = 0.02


@keras.utils.register_keras_serializable("mggr_tf")
class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up over 4 % of the steps, then a cosine down to 2 % of the peak.

    The number of steps is a variable: a time budget is turned into steps only
    after the first of them were timed, without tracing the step again.

    Args:
        peak: the highest learning rate.
        total: [] int64 variable, number of steps.
        updates_a_step: how often the optimizer moves in each of them.
    """

    def __init__(self, peak: float, total: tf.Variable, *, updates_a_step: int = 1) -> None:
        self.peak = peak
        self.total = total
        self.updates_a_step = updates_a_step

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate at `step`."""
        total = tf.cast(self.total * self.updates_a_step, tf.float32)
        at = tf.cast(step, tf.float32)
        warm = tf.maximum(_WARM_UP * total, 1.0)
        progress = tf.clip_by_value((at - warm) / tf.maximum(total - warm, 1.0), 0.0, 1.0)
        cosine = _LAST + (1 - _LAST) * 0.5 * (1 + tf.cos(math.pi * progress))
        return self.peak * tf.minimum((at + 1) / warm, cosine)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as numbers."""
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
    """Builds an optimizer whose variables exist at once, so that a checkpoint finds them.

    Args:
        peak: the highest learning rate.
        total: [] int64 variable, number of steps.
        variables: what it will train.
        beta_1: of the first moment.
        updates_a_step: how often it moves in each step.
        precision: what gradients are computed in; float16 has its loss scaled.
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
    """One update; what the loss does not depend on stays as it is."""
    zero = tf.UnconnectedGradients.ZERO
    if _scales(optimizer):
        enlarged = optimizer.get_scaled_loss(tf.ones_like(loss))
        gradients = optimizer.get_unscaled_gradients(
            tape.gradient(loss, variables, output_gradients=enlarged, unconnected_gradients=zero)
        )
    else:
        gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def optimizer_state(name: str, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What a checkpoint must hold of an optimizer, by name; its loss scale where it has one."""
    scale = {f"{name}_loss_scale": _LossScale(optimizer)} if _scales(optimizer) else {}
    return {name: optimizer, **scale}


def scale_metrics(optimizer: keras.optimizers.Optimizer, *, replicas: int) -> Metrics:
    """This replica's part of the loss scale, for the log; nothing where there is none."""
    return {"loss_scale": optimizer.loss_scale / replicas} if _scales(optimizer) else {}


class _LossScale(tf.Module):
    """A loss scale's variables, which Keras does not count among its optimizer's."""

    def __init__(self, optimizer: keras.mixed_precision.LossScaleOptimizer) -> None:
        super().__init__()
        self._scale = optimizer._loss_scale.current_loss_scale
        self._good_steps = optimizer.dynamic_counter


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)

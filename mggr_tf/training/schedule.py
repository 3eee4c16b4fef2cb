"""Learning rate over a stage."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

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

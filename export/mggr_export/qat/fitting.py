"""Fits a model's weights to integers, by its own float outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tensorflow as tf
from tensorflow import keras

from mggr_export.arrays import Arrays
from mggr_export.export_eyes import FITTING_BATCH
from mggr_export.keras_models import outputs_by_name, outputs_of
from mggr_export.parity import span_of
from mggr_export.qat.simulation import Simulation
from mggr_tf.training.optimizer import adam, apply

_LEARNING_RATE = 2e-5
"""In trials on real eyes 1e-4 was worse than no fit at all, and 5e-6 gained a little less."""


def fitted_to_integers(
    model: keras.Model,
    calibration: Arrays,
    batches: Iterable[Arrays],
    *,
    steps: int,
    advance: Callable[[int], None] = lambda n: None,
) -> keras.Model:
    """The model with weights that lose less by being rounded.

    What they are fitted to is what the float model makes of the same inputs: no labels are
    needed, and nothing is learned but to bear the rounding. Every output counts by its mean
    squared difference over its squared span, as in parity's PSNR.

    Args:
        model: in Keras; it stays as it is.
        calibration: [N, ...] of every input by name, from which ranges are taken first.
        batches: [B, ...] of every input, one for each step.
        steps: how many batches there are.
        advance: called for every step.

    Returns:
        a model of the same layers, without any rounding.
    """
    simulation = Simulation(model)
    spans = {name: span_of(name, value) for name, value in outputs_of(model, calibration).items()}
    simulation.observe(calibration, batch=FITTING_BATCH)
    variables = simulation.trained
    optimizer = adam(_LEARNING_RATE, tf.Variable(steps, dtype=tf.int64), variables)

    @tf.function(autograph=False)
    def step(inputs: dict[str, tf.Tensor]) -> None:
        right = outputs_by_name(model, model(inputs, training=False))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            made = outputs_by_name(model, simulation.model(inputs, training=True))
            loss = tf.add_n(
                [
                    tf.reduce_mean(tf.square(made[name] - right[name])) / span**2
                    for name, span in spans.items()
                ]
            )
        apply(optimizer, tape, loss, variables)

    for batch in batches:
        step({name: tf.constant(value) for name, value in batch.items()})
        advance(1)
    return simulation.fitted()

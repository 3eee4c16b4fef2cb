"""A Keras model as one function of fixed shapes, ready for a converter.

The batch is fixed and every input and output has its name: what a device sees is
one eye or both, and converters turn unknown sizes into arithmetic on shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow import keras

from mggr_export.formats.keras_models import outputs_by_name

SIGNATURE = "serving_default"


@dataclass(frozen=True)
class FrozenModel:
    """A concrete function and what keeps its variables alive.

    Attributes:
        function: of keyword arguments named as the model's inputs; returns a dict.
        owner: holds the variables; converters ask for it.
    """

    function: Any
    owner: tf.Module


def freeze(model: keras.Model, *, batch: int = 1) -> FrozenModel:
    """Traces a model in inference mode.

    Args:
        model: of a dict of named inputs; its output is one tensor or a dict.
        batch: how many examples it shall take at once, always.
    """
    inputs = {tensor.name: tensor for tensor in model.inputs}
    specs = {
        name: tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=name)
        for name, tensor in inputs.items()
    }

    @tf.function(autograph=False)
    def serve(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        named = outputs_by_name(model, model(tensors, training=False))
        return {name: tf.identity(value, name=name) for name, value in named.items()}

    owner = tf.Module()
    # The variables alone: with the model, the converter would save all of Keras' own
    # functions too, which takes several times as long and changes nothing.
    owner.weights = list(model.weights)
    return FrozenModel(serve.get_concrete_function(**specs), owner)

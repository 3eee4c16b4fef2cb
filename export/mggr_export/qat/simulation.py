"""A Keras model that computes as its int8 file will, and can be trained at it.

Every convolution reads rounded values and multiplies by rounded weights; all else computes with
floats: flow, residual, warp and clip, and dense layers. That is what an ONNX file with Q/DQ pairs
does. TFLite rounds more (dense layers, what lies between convolutions) and finer (it needs no
zero-point 0). Gradients pass the rounding as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import (
    QuantizeLayer,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapperV2,
)

from mggr_edge.models.runtimes.batching import cut
from mggr_export.arrays import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.qat.quantise_configs import ConvolutionQuantizeConfig, activation_quantizer
from mggr_tf.models.blocks import ResumableDropout


class Simulation:
    """A model's copy with rounding in it; the model itself stays as it is.

    TFMOT's own `quantize_apply` refuses models inside models, which redirectors are, and knows
    nothing of layers like ours; so its parts are put around each convolution here.

    Attributes:
        model: the copy. Called with `training=True` it widens its ranges by what it sees; its
            batch statistics stay, and nothing is dropped.
    """

    def __init__(self, model: keras.Model) -> None:
        self._original = model
        self._weights: dict[int, list[tf.Variable]] = {}
        self.model = _copied(model, self._simulated)

    @property
    def trained(self) -> list[tf.Variable]:
        """What is fitted: kernels and biases of convolutions."""
        return [one for weights in self._weights.values() for one in weights]

    def observe(self, inputs: Arrays, *, batch: int) -> None:
        """Takes every range from inputs [N, ...], so many examples at a time."""
        for some in cut(inputs, batch):
            self.model({name: tf.constant(value) for name, value in some.items()}, training=True)

    def fitted(self) -> keras.Model:
        """The model as it was, without any rounding, with the weights as they are by now."""

        def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
            copy = _built(layer)
            if id(layer) in self._weights:
                copy.set_weights([weight.numpy() for weight in self._weights[id(layer)]])
            return copy

        return _copied(self._original, plain)

    def _simulated(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, ResumableDropout):
            return keras.layers.Activation("linear", name=layer.name)
        copy = _built(layer)
        if isinstance(layer, keras.layers.BatchNormalization):
            copy.trainable = False
        # Not what is derived from it: a transposed one has other axes, and stays float in ONNX.
        if type(layer) is not keras.layers.Conv2D:
            return copy
        # Taken now: the wrapper will put tensors in their places.
        self._weights[id(layer)] = list(copy.weights)
        reading = QuantizeLayer(activation_quantizer(), name="read")
        computing = QuantizeWrapperV2(copy, ConvolutionQuantizeConfig())
        return keras.Sequential([reading, computing], name=layer.name)


def _copied(
    model: keras.Model, copied_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """A model of copied layers, in models inside it too.

    Raises:
        ArtifactError: a layer that several models share, which Keras cannot copy as such.
    """
    seen: set[int] = set()

    def copied(layer: keras.layers.Layer) -> Any:
        if id(layer) in seen:
            raise ArtifactError(f"layer {layer.name} is shared; its weights cannot be fitted")
        seen.add(id(layer))
        return cloned(layer) if isinstance(layer, keras.Model) else copied_layer(layer)

    def cloned(inner: keras.Model) -> keras.Model:
        return keras.models.clone_model(inner, clone_function=copied)

    return cloned(model)


def _built(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer with its weights."""
    copy = layer.__class__.from_config(layer.get_config())
    if layer.weights:
        copy.build(layer.get_input_shape_at(0))
        copy.set_weights(layer.get_weights())
    return copy

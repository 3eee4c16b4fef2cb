"""Quantisation-aware training: fits a model's weights to the integers that will hold them.

The weights are fitted on a copy of the model that computes as its int8 file will. Every
convolution reads rounded values and multiplies by rounded weights. All else computes with floats:
flow, residual, warp and clip, and dense layers. That is what an ONNX file with Q/DQ pairs does.
TFLite rounds more (dense layers, what lies between convolutions) and finer (it needs no zero-point
0). Gradients pass the rounding as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import (
    QuantizeLayer,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapperV2,
)
from tensorflow_model_optimization.quantization.keras import QuantizeConfig
from tensorflow_model_optimization.quantization.keras.quantizers import (
    AllValuesQuantizer,
    LastValueQuantizer,
    Quantizer,
)

from mggr_edge.models.runtimes.runner import cut
from mggr_export.arrays import Arrays
from mggr_export.errors import ArtifactError
from mggr_export.eyes.export_eyes import FITTING_BATCH
from mggr_export.formats.keras_models import outputs_by_name, outputs_of
from mggr_export.proofs.proof import span_of
from mggr_tf.models.blocks import ResumableDropout
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
        reading = QuantizeLayer(_activation_quantizer(), name="read")
        computing = QuantizeWrapperV2(copy, ConvolutionQuantizeConfig())
        return keras.Sequential([reading, computing], name=layer.name)


def _activation_quantizer() -> Quantizer:
    """One scale, from the widest value that was ever seen, as calibration takes it."""
    return AllValuesQuantizer(num_bits=8, per_axis=False, symmetric=True, narrow_range=True)


def _kernel_quantizer() -> Quantizer:
    """A scale for every output channel, from the weights as they are by now."""
    return LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)


@keras.utils.register_keras_serializable("mggr_export")
class ConvolutionQuantizeConfig(QuantizeConfig):  # type: ignore[misc]
    """The kernel of a `Conv2D`; its bias and its output stay float.

    What reads an output rounds it: a skip connection, a modulation or the warp does not.
    """

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[tf.Variable, Quantizer]]:
        """The kernel."""
        return [(layer.kernel, _kernel_quantizer())]

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[tf.Tensor]) -> None:
        """Puts the rounded kernel in its place."""
        (layer.kernel,) = quantize_weights

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Callable, Quantizer]]:
        """None."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        """Nothing to set."""
        return

    def get_output_quantizers(self, layer: Any) -> list[Quantizer]:
        """None."""
        return []

    def get_config(self) -> dict[str, Any]:
        """No arguments."""
        return {}


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

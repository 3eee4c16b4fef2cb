"""Quantization-aware training (QAT): fine-tune a model's weights for int8 rounding.

The weights are fine-tuned in a copy of the model that simulates the rounding of an int8 file. Every
convolution multiplies rounded values by rounded weights. All other parts compute in float. These
parts are flow, residual, warp, clip and dense layers. An ONNX file with pairs of QuantizeLinear and
DequantizeLinear computes in the same way. A TFLite file also rounds dense layers and the values
between convolutions. The rounding in a TFLite file is finer, because TFLite does not require
zero-point 0. In training, gradients pass through the rounding unchanged.
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

from mggr_edge.errors import ArtifactError
from mggr_edge.models.runtimes.runner import Arrays, cut
from mggr_export.eyes.export_eyes import FITTING_BATCH
from mggr_export.formats.keras_models import outputs_by_name, outputs_of
from mggr_export.proofs.proof import span_of
from mggr_tf.models.blocks import ResumableDropout
from mggr_tf.training.optimizer import adam, apply

_LEARNING_RATE = 2e-5
"""Learning rate of QAT.

In experiments on real eyes, the learning rate 1e-4 was worse than no QAT. The gain with 5e-6 was
slightly smaller than with 2e-5.
"""


def fitted_to_integers(
    model: keras.Model,
    calibration: Arrays,
    batches: Iterable[Arrays],
    *,
    steps: int,
    advance: Callable[[int], None] = lambda n: None,
) -> keras.Model:
    """Return a copy of the model with new weights that lose less accuracy by rounding.

    The training targets are the outputs of the float model for the same inputs. Labels are
    therefore not needed, and the model learns only to compensate for the rounding. The loss of an
    output is the mean squared difference, divided by the square of the output's value range. The
    PSNR of the comparison with Keras uses the same quotient.

    Args:
        model: Keras model. It is not changed.
        calibration: Dict of inputs that determine the initial quantization ranges. Each array has
            the shape [N, ...].
        batches: One dict of inputs for every step. Each array has the shape [B, ...].
        steps: Number of batches.
        advance: Callback for the progress bar. `advance(1)` is called after every step.

    Returns:
        Model with the same layers and the new weights, without rounding.
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
    """Copy of a model with simulated rounding. The original model is not changed.

    The function `quantize_apply` of TFMOT (TensorFlow Model Optimization) rejects nested models,
    such as redirectors. The function also does not support the layers of this project. This class
    therefore adds TFMOT's quantizers to each convolution.

    Attributes:
        model: Copy with rounding. A call with `training=True` extends the quantization ranges to
            the values in this call. Batch statistics stay fixed, and dropout is disabled.
    """

    def __init__(self, model: keras.Model) -> None:
        self._original = model
        self._weights: dict[int, list[tf.Variable]] = {}
        self.model = _copied(model, self._simulated)

    @property
    def trained(self) -> list[tf.Variable]:
        """Variables that QAT trains: kernels and biases of convolutions."""
        return [one for weights in self._weights.values() for one in weights]

    def observe(self, inputs: Arrays, *, batch: int) -> None:
        """Set all quantization ranges from N examples. A batch contains `batch` examples."""
        for some in cut(inputs, batch):
            self.model({name: tf.constant(value) for name, value in some.items()}, training=True)

    def fitted(self) -> keras.Model:
        """Return a copy of the original model that has the current weights and no rounding."""

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
        # Exclude subclasses of Conv2D. A transposed convolution has other axes and stays float in
        # ONNX files.
        if type(layer) is not keras.layers.Conv2D:
            return copy
        # Store the variables before the wrapper replaces them by tensors.
        self._weights[id(layer)] = list(copy.weights)
        reading = QuantizeLayer(_activation_quantizer(), name="read")
        computing = QuantizeWrapperV2(copy, ConvolutionQuantizeConfig())
        return keras.Sequential([reading, computing], name=layer.name)


def _activation_quantizer() -> Quantizer:
    """Return a quantizer with one scale for each tensor.

    The largest absolute value so far determines the scale. The calibration of int8 files determines
    the scale in the same way.
    """
    return AllValuesQuantizer(num_bits=8, per_axis=False, symmetric=True, narrow_range=True)


def _kernel_quantizer() -> Quantizer:
    """Return a quantizer with one scale for each output channel.

    The current weights determine the scale.
    """
    return LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)


@keras.utils.register_keras_serializable("mggr_export")
class ConvolutionQuantizeConfig(QuantizeConfig):  # type: ignore[misc]
    """Quantization of a `Conv2D` layer: only the kernel is quantized.

    The bias and the output stay float. If another convolution reads the output, that convolution
    quantizes the values. Skip connections, modulations and the warp read the float output.
    """

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[tf.Variable, Quantizer]]:
        """Return the kernel and its quantizer."""
        return [(layer.kernel, _kernel_quantizer())]

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[tf.Tensor]) -> None:
        """Replace the kernel by the rounded kernel."""
        (layer.kernel,) = quantize_weights

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Callable, Quantizer]]:
        """Return an empty list, because no activation is quantized."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        """Do nothing, because no activation is quantized."""
        return

    def get_output_quantizers(self, layer: Any) -> list[Quantizer]:
        """Return an empty list, because the output stays float."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return an empty config, because this class has no arguments."""
        return {}


def _copied(
    model: keras.Model, copied_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """Return a copy of a model. All layers are copied, including the layers of nested models.

    Raises:
        ArtifactError: If several models share a layer. Keras would copy such a layer several times.
    """
    seen: set[int] = set()

    def copied(layer: keras.layers.Layer) -> Any:
        if id(layer) in seen:
            raise ArtifactError(
                f"layer {layer.name} is shared between models; QAT does not support shared layers",
                code="layer-shared",
                layer=layer.name,
            )
        seen.add(id(layer))
        return cloned(layer) if isinstance(layer, keras.Model) else copied_layer(layer)

    def cloned(inner: keras.Model) -> keras.Model:
        return keras.models.clone_model(inner, clone_function=copied)

    return cloned(model)


def _built(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a copy of a layer, including its weights."""
    copy = layer.__class__.from_config(layer.get_config())
    if layer.weights:
        copy.build(layer.get_input_shape_at(0))
        copy.set_weights(layer.get_weights())
    return copy

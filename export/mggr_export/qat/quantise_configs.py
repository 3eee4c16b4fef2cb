"""The settings of TFMOT for a convolution: what it rounds, and how.

As TensorRT wants it, and TFLite takes it: weights by a scale for every output channel,
activations by one, all of them with zero-point 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras
from tensorflow_model_optimization.quantization.keras import QuantizeConfig
from tensorflow_model_optimization.quantization.keras.quantizers import (
    AllValuesQuantizer,
    LastValueQuantizer,
    Quantizer,
)


def activation_quantizer() -> Quantizer:
    """One scale, from the widest value that was ever seen, as calibration takes it."""
    return AllValuesQuantizer(num_bits=8, per_axis=False, symmetric=True, narrow_range=True)


def kernel_quantizer() -> Quantizer:
    """A scale for every output channel, from the weights as they are by now."""
    return LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)


@keras.utils.register_keras_serializable("mggr_export")
class ConvolutionQuantizeConfig(QuantizeConfig):  # type: ignore[misc]
    """The kernel of a `Conv2D`; its bias and its output stay float.

    What reads an output rounds it: a skip connection, a modulation or the warp does not.
    """

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[tf.Variable, Quantizer]]:
        """The kernel."""
        return [(layer.kernel, kernel_quantizer())]

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

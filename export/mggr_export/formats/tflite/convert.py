"""Conversion to TFLite: float32, float16, or int8 by post-training calibration.

In a float16 file, the weights are stored in half precision, and all ops compute in float32.

In an int8 file, the convolutions and the ops between them compute with 8-bit integers. Weights are
quantized per channel. Inputs, outputs and all ops after the last convolutions stay float.
Therefore a device feeds float and int8 files in the same way, and the warp reads unrounded
coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.runner import cut
from mggr_edge.models.runtimes.tflite import interpreter_class
from mggr_export.arrays import Arrays
from mggr_export.formats.keras_models import SIGNATURE, FrozenModel, freeze
from mggr_export.formats.model_format import Dissection
from mggr_export.formats.tflite.graph import CONVOLUTIONS, Graph, read_graph


def convert_float32(frozen: FrozenModel) -> bytes:
    """Convert without loss, to builtin ops only."""
    content: bytes = _converter(frozen).convert()
    return content


def convert_float16(frozen: FrozenModel) -> bytes:
    """Convert with weights in half precision, which the interpreter widens on loading."""
    converter = _converter(frozen)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    content: bytes = converter.convert()
    return content


def convert_int8(
    frozen: FrozenModel,
    calibration: Arrays,
    *,
    batch: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> bytes:
    """Quantize all ops except the tail (see `Graph.tail`), with ranges from the calibration data.

    Standard quantization would also round the coordinates of the warp. PSNR would then be 30 dB
    instead of 53 dB on real eyes. Ops are excluded by their position in the graph. Op types are
    not suitable, because the additions of the warp have the same type as any other addition.
    Layer names are not suitable, because the converter fuses and renames layers.

    Args:
        frozen: Function to convert.
        calibration: Calibration inputs by name, [N, ...] each.
        batch: Fixed batch size of the file.
        advance: Callback, called with the number of processed calibration examples.
    """
    return Calibrated(frozen, calibration, batch=batch, advance=advance).quantised()


class Calibrated:
    """A calibrated model that can be quantized in several variants.

    Args:
        frozen: Function to convert.
        calibration: Calibration inputs by name, [N, ...] each.
        batch: Fixed batch size of the file.
        advance: Callback, called with the number of processed calibration examples.
    """

    def __init__(
        self,
        frozen: FrozenModel,
        calibration: Arrays,
        *,
        batch: int = 1,
        advance: Callable[[int], None] = lambda n: None,
    ) -> None:
        def examples() -> Iterator[dict[str, NDArray[np.float32]]]:
            # Examples are dicts, because the converter assigns lists in its own input order.
            for example in cut(calibration, batch):
                advance(batch)
                yield example

        converter = _converter(frozen)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        self._debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)

    @property
    def content(self) -> bytes:
        """The calibrated file, still float. Other conversions have other tensor names."""
        content: bytes = self._debugger.calibrated_model
        return content

    def quantised(self, *, but: str | None = None) -> bytes:
        """Return the int8 file.

        Args:
            but: Name of a tensor; the op that produces it stays float. None keeps only the tail
                float.
        """
        self._debugger.options = _all_but_the_tail(read_graph(self.content), but)
        content: bytes = self._debugger.get_nondebug_quantized_model()
        return content


def _all_but_the_tail(calibrated: Graph, spared: str | None = None) -> Any:
    """Return quantizer options that keep the tail float.

    The options contain the tensor names of the quantizer's own model.

    Args:
        calibrated: Graph of the quantizer's own model, which is still float.
        spared: Name of one more tensor whose op stays float.
    """
    tail = calibrated.tail()
    names = [tensor.name for tensor in calibrated.made_by(tail)]
    return tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=names if spared is None else [*names, spared],
        # An op with several outputs has no single tensor name, so it is excluded by its kind.
        # Without this, the warp's UNPACK of x and y is quantized, and PSNR is 46 dB.
        denylisted_ops=sorted({op.kind for op in tail if len(op.outputs) > 1}),
    )


def _converter(frozen: FrozenModel) -> tf.lite.TFLiteConverter:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen.function], frozen.owner)


def dissect(model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
    """Calibrate again, and return the int8 file with its variants.

    All variants are quantized from the same calibration.
    """
    calibrated = Calibrated(freeze(model, batch=batch), calibration, batch=batch)
    return Dissection(
        quantised=calibrated.quantised(),
        reference=calibrated.content,
        layers=tuple(_layers(calibrated.content)),
        spared=lambda layer: calibrated.quantised(but=layer),
        runner=lambda content: open_file(content, "tflite"),
        outputs=_outputs,
    )


def _layers(content: bytes) -> dict[str, int]:
    """Return the indices of the layers' output tensors by tensor name."""
    graph = read_graph(content)
    indices = [op.outputs[0] for op in graph.ops if op.kind in CONVOLUTIONS]
    return {graph.tensors[index].name: index for index in indices}


def _outputs(content: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    # Use the device's interpreter: that of TensorFlow 2.15 overwrites tensors that it should
    # preserve.
    of_runtime = interpreter_class(None)
    resolvers = import_module(of_runtime.__module__).OpResolverType
    interpreter = of_runtime(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner(SIGNATURE)
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    layers = _layers(content)
    batch = next(iter(run.get_input_details().values()))["shape"][0]
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in layers}
    for example in cut(inputs, int(batch)):
        run(**example)
        for name, index in layers.items():
            scale, zero = details[index]["quantization"]
            value = interpreter.get_tensor(index).astype(np.float32)
            parts[name].append((value - zero) * scale if scale else value)
    return {name: np.concatenate(values) for name, values in parts.items()}

"""Conversion to TFLite: float32, float16, or int8 by calibration after training.

In a float16 file the weights are halved and everything computes in float32.

In an int8 file the convolutions and what lies between them compute with 8-bit
integers (weights per channel). Inputs, outputs and everything behind the last
convolutions stay float: a device feeds both files alike, and the warp reads
its coordinates unrounded.
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
    """Converts without any loss, to builtin ops only."""
    content: bytes = _converter(frozen).convert()
    return content


def convert_float16(frozen: FrozenModel) -> bytes:
    """Stores weights in half precision; an interpreter widens them when it loads the file."""
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
    """Quantises all but the tail (see `Graph.tail`) by the ranges that calibration shows.

    Plain quantisation would take the warp's coordinates with it: 30 dB instead
    of 53 on real eyes. Which ops to leave out is decided by where they stand in
    the graph, not by their kinds (the warp's additions are like any other) and
    not by layers' names (the converter fuses and renames).

    Args:
        frozen: what to convert.
        calibration: [N, ...] of every input by name.
        batch: how many examples the file takes at once.
        advance: called for every calibration example.
    """
    return Calibrated(frozen, calibration, batch=batch, advance=advance).quantised()


class Calibrated:
    """A model that calibration has been through, to be quantised once or in several ways.

    Args:
        frozen: what to convert.
        calibration: [N, ...] of every input by name.
        batch: how many examples the file takes at once.
        advance: called for every calibration example.
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
            # Dicts: lists would be fed in the converter's own order of inputs.
            for example in cut(calibration, batch):
                advance(batch)
                yield example

        converter = _converter(frozen)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        self._debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)

    @property
    def content(self) -> bytes:
        """The still float file; names of tensors differ in other conversions."""
        content: bytes = self._debugger.calibrated_model
        return content

    def quantised(self, *, but: str | None = None) -> bytes:
        """The int8 file, perhaps but for the op that makes a tensor of that name."""
        self._debugger.options = _all_but_the_tail(read_graph(self.content), but)
        content: bytes = self._debugger.get_nondebug_quantized_model()
        return content


def _all_but_the_tail(calibrated: Graph, spared: str | None = None) -> Any:
    """What the quantiser must leave alone, by the names that it goes by itself.

    Args:
        calibrated: its own, still float, model.
        spared: one more tensor whose op stays float.
    """
    tail = calibrated.tail()
    names = [tensor.name for tensor in calibrated.made_by(tail)]
    return tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=names if spared is None else [*names, spared],
        # An op with several outputs has no one name that would match (the warp's
        # UNPACK of x and y: 46 dB); it has to be named by its kind.
        denylisted_ops=sorted({op.kind for op in tail if len(op.outputs) > 1}),
    )


def _converter(frozen: FrozenModel) -> tf.lite.TFLiteConverter:
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen.function], frozen.owner)


def dissect(model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
    """Calibrates once more; every variant is quantised from there."""
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
    """What the layers' output tensors are called, and which they are."""
    graph = read_graph(content)
    indices = [op.outputs[0] for op in graph.ops if op.kind in CONVOLUTIONS]
    return {graph.tensors[index].name: index for index in indices}


def _outputs(content: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    # The device's own interpreter: TensorFlow 2.15's writes over what it was asked to keep.
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

"""Convert models to TFLite in float32, float16 or int8.

In a float16 file, the weights are stored in half precision, and all ops compute in float32.

An int8 file is calibrated after the training. The convolutions and the ops between them compute
with 8-bit integers. Weights have one scale for each channel. Inputs and outputs stay float, so a
device uses float and int8 files in the same way. All ops after the last convolutions stay float,
too. One of these ops is the warp, which moves pixels. The coordinates of the warp are therefore not
rounded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.runner import Arrays, cut
from mggr_edge.models.runtimes.tflite import interpreter_class
from mggr_export.formats.keras_models import SIGNATURE, FrozenModel, freeze
from mggr_export.formats.model_format import Dissection
from mggr_export.formats.tflite.graph import CONVOLUTIONS, Graph, read_graph


def convert_float32(frozen: FrozenModel) -> bytes:
    """Convert a model to float32, with builtin ops only."""
    content: bytes = _converter(frozen).convert()
    return content


def convert_float16(frozen: FrozenModel) -> bytes:
    """Convert to float16. An interpreter converts the weights to float32 when it loads the file."""
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
    """Quantize all ops except the tail, with ranges from the calibration data.

    The tail consists of all ops after the last convolutions, see `Graph.tail`. Standard
    quantization would also round the coordinates of the warp. The PSNR on real eyes would then be
    30 dB instead of 53 dB (higher is better). The position in the graph decides which ops are
    excluded. The type of an op is no suitable criterion, because the additions of the warp have the
    same type as any other addition. The name of a layer is no suitable criterion either, because
    the converter fuses and renames layers.

    Args:
        frozen: Function to convert.
        calibration: Calibration inputs by name. Each array has the shape [N, ...].
        batch: Fixed batch size of the file.
        advance: Callback for the progress bar. It receives the number of calibration examples that
            were processed since the previous call.
    """
    return Calibrated(frozen, calibration, batch=batch, advance=advance).quantised()


class Calibrated:
    """A calibrated model that can be quantized in several variants.

    Args:
        frozen: Function to convert.
        calibration: Calibration inputs by name. Each array has the shape [N, ...].
        batch: Fixed batch size of the file.
        advance: Callback for the progress bar. It receives the number of calibration examples that
            were processed since the previous call.
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
            # Examples are dicts, because the converter would assign the values of a list in its own
            # order of inputs.
            for example in cut(calibration, batch):
                advance(batch)
                yield example

        converter = _converter(frozen)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        with _old_interpreter_allowed():
            self._debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)

    @property
    def content(self) -> bytes:
        """Content of the calibrated file, which is still float.

        Other conversions of the same model have other tensor names.
        """
        content: bytes = self._debugger.calibrated_model
        return content

    def quantised(self, *, but: str | None = None) -> bytes:
        """Return the int8 file.

        Args:
            but: Name of a tensor. The op that produces this tensor stays float, in addition to the
                tail. With `None`, only the tail stays float.
        """
        self._debugger.options = _all_but_the_tail(read_graph(self.content), but)
        with _old_interpreter_allowed():
            content: bytes = self._debugger.get_nondebug_quantized_model()
        return content


@contextmanager
def _old_interpreter_allowed() -> Iterator[None]:
    """Hide the warning of TensorFlow's quantizer about its own interpreter.

    This package runs files with LiteRT. The quantizer of TensorFlow 2.21 uses the old interpreter.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated"
        )
        yield


def _all_but_the_tail(calibrated: Graph, spared: str | None = None) -> Any:
    """Return quantizer options that keep the tail float.

    The options contain tensor names of the quantizer's own model.

    Args:
        calibrated: Graph of the quantizer's own model, which is still float.
        spared: Name of another tensor. The op that produces this tensor also stays float.
    """
    tail = calibrated.tail()
    names = [tensor.name for tensor in calibrated.made_by(tail)]
    return tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=names if spared is None else [*names, spared],
        # An op with several outputs has no single tensor name, so all ops of its kind are excluded.
        # Otherwise, the op UNPACK, which separates x and y of the warp, would be quantized. The
        # PSNR would then be only 46 dB.
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
    """Return a dict: name of a layer's output tensor -> index of this tensor."""
    graph = read_graph(content)
    indices = [op.outputs[0] for op in graph.ops if op.kind in CONVOLUTIONS]
    return {graph.tensors[index].name: index for index in indices}


def _outputs(content: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    # Use the interpreter of the device. The interpreter of TensorFlow 2.15 overwrites tensors that
    # it should preserve.
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

"""Quantize ONNX files: insert QuantizeLinear and DequantizeLinear before every convolution.

TensorRT reads these pairs of ops. TensorRT no longer has calibrators of its own, so the graph must
contain the precision. Activations have zero-point 0. Weights have one scale for every output
channel. Biases stay float. Only the inputs of convolutions are quantized, never their outputs.
Flow, residual, warp, clip and dense layers stay float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from tensorflow import keras

from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.runner import Arrays, batch_of, cut
from mggr_export.formats.model_format import Dissection
from mggr_export.formats.onnx.convert import convert_float32
from mggr_export.formats.onnx.graph import DEQUANTISE, QUANTISE, QUANTISED, Graph


def quantise(
    content: bytes,
    calibration: Arrays,
    *,
    batch: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> bytes:
    """Quantize a float32 file, with ranges from the calibration data.

    Args:
        content: Content of the float32 file.
        calibration: Calibration inputs by name. Each array has the shape [N, ...].
        batch: Fixed batch size of the file.
        advance: Callback for the progress bar. It receives the number of calibration examples that
            were processed since the previous call.

    Returns:
        Content of the int8 file.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            onnx.load_from_string(content),
            path,
            _Reader(calibration, batch, advance),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(QUANTISED),
            },
        )
        model = onnx.load(path)
    _leave_others_float(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def _leave_others_float(graph: onnx.GraphProto) -> None:
    """Connect all nodes except convolutions to the original float tensors again.

    If a tensor is quantized, ONNX Runtime connects all its readers to the quantized version. Some
    of these readers are not convolutions, for example skip connections.
    """
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == QUANTISE}
    original = {
        node.output[0]: before[node.input[0]]
        for node in graph.node
        if node.op_type == DEQUANTISE and node.input[0] in before
    }
    for node in graph.node:
        if node.op_type not in (*QUANTISED, QUANTISE, DEQUANTISE):
            for index, name in enumerate(node.input):
                node.input[index] = original.get(name, name)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Reader that passes the calibration examples to ONNX Runtime, batch by batch."""

    def __init__(self, calibration: Arrays, batch: int, advance: Callable[[int], None]) -> None:
        self._examples: Iterator[dict[str, NDArray[np.float32]]] = cut(calibration, batch)
        self._batch = batch
        self._advance = advance

    def get_next(self) -> Any:
        """Return the next batch. The result is `None` after the last batch."""
        example = next(self._examples, None)
        if example is not None:
            self._advance(self._batch)
        return example


def dissect(model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
    """Calibrate again, and return the int8 file with its variants.

    In each variant, one layer reads float inputs and float weights, as in the float file.
    """
    plain = convert_float32(model, batch=batch)
    content = quantise(plain, calibration, batch=batch)
    return Dissection(
        quantised=content,
        reference=plain,
        layers=tuple(node.name for node in _layers(content)),
        spared=lambda layer: _with_float_layer(content, plain, layer),
        runner=lambda file: open_file(file, "onnx"),
        outputs=_outputs,
    )


def _layers(content: bytes) -> list[onnx.NodeProto]:
    nodes = onnx.load_from_string(content).graph.node
    return [node for node in nodes if node.op_type in QUANTISED]


def _with_float_layer(content: bytes, plain: bytes, layer: str) -> bytes:
    """Return the int8 file with one float layer.

    This layer reads float inputs and float weights, as in the float file.
    """
    model = onnx.load_from_string(content)
    (ours,) = (node for node in model.graph.node if node.name == layer)
    (theirs,) = (node for node in _layers(plain) if node.name == layer)
    weights = Graph(onnx.load_from_string(plain).graph).constants[theirs.input[1]]
    ours.input[0] = theirs.input[0]
    ours.input[1] = weights.name
    if weights.name not in Graph(model.graph).constants:
        model.graph.initializer.append(weights)
    return bytes(model.SerializeToString())


def _outputs(content: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    model = onnx.load_from_string(content)
    names = {node.output[0]: node.name for node in _layers(content)}
    own = {tensor.name for tensor in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(tensor) for tensor in names if tensor not in own
    )
    runner = open_file(model.SerializeToString(), "onnx")
    parts = [runner(example) for example in cut(inputs, batch_of(runner))]
    return {
        layer: np.concatenate([part[tensor] for part in parts]) for tensor, layer in names.items()
    }

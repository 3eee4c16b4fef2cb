"""An ONNX int8 file with each layer's outputs, for `explain`."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from tensorflow import keras

from mggr_edge.models.runtimes import open_file
from mggr_edge.models.runtimes.runner import batch_of, cut
from mggr_export.arrays import Arrays
from mggr_export.formats.dissection import Dissection
from mggr_export.formats.onnx.convert import convert_float32
from mggr_export.formats.onnx.graph import Graph
from mggr_export.formats.onnx.quantise import QUANTISED, quantise


def dissect(model: keras.Model, calibration: Arrays, *, batch: int) -> Dissection:
    """Calibrates once more; every variant takes one layer back from the float file."""
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
    """The int8 file in which one layer reads picture and weights as the float file's does."""
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

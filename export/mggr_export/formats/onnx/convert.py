"""Conversion to ONNX: float32, the warp one native op."""

from __future__ import annotations

import onnx
import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx import optimizer
from tf2onnx.tfonnx import process_tf_graph

from mggr_export.formats.freeze import FrozenModel, freeze
from mggr_export.formats.onnx.canonical import canonical
from mggr_export.formats.onnx.grid_sample import OPSET, handlers, marked_warp
from mggr_tf.models.warp import warps_traced_as

_DEPRECATED = b"tf_half_pixel_for_nn"


def convert_float32(model: keras.Model, *, batch: int = 1) -> bytes:
    """Converts without any loss; inputs and outputs have the model's own names."""
    with warps_traced_as(marked_warp):
        frozen = freeze(model, batch=batch)
    constant = convert_variables_to_constants_v2(frozen.function)
    names = _names(frozen)
    inputs = [name for name, (kind, _) in names.items() if kind == "input"]
    outputs = [name for name, (kind, _) in names.items() if kind == "output"]
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(constant.graph.as_graph_def(add_shapes=True), name="")
        converted = process_tf_graph(
            graph,
            opset=OPSET,
            custom_op_handlers=handlers(),
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename={name: given for name, (_, given) in names.items()},
        )
        proto = optimizer.optimize_graph(converted).make_model("mggr")
    _resize_plainly(proto.graph)
    canonical(proto.graph)
    return bytes(proto.SerializeToString(deterministic=True))


def _resize_plainly(graph: onnx.GraphProto) -> None:
    """Says nearest-neighbour doubling in words that are not deprecated.

    tf2onnx writes TensorFlow's own rule; for whole factors it reads the same pixels as the
    plainest one.
    """
    for node in graph.node:
        said = {attribute.name: attribute for attribute in node.attribute}
        where = said.get("coordinate_transformation_mode")
        if node.op_type == "Resize" and where is not None and where.s == _DEPRECATED:
            where.s = b"asymmetric"
            said["nearest_mode"].s = b"floor"


def _names(frozen: FrozenModel) -> dict[str, tuple[str, str]]:
    """Tensor in the graph -> what it is, and what the model calls it."""
    function = frozen.function
    inputs = [t for t in function.inputs if t.dtype != tf.resource]
    outputs = zip(function.outputs, sorted(function.structured_outputs), strict=True)
    named = {t.name: ("input", t.name.split(":")[0]) for t in inputs}
    return named | {t.name: ("output", given) for t, given in outputs}

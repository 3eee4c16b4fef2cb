"""Half precision in an ONNX file: weights and what computes with them, and no coordinate."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from mggr_export.formats.onnx.graph import Graph

_FINE = ("Resize", "Min", "Max")
"""On the list for other runtimes' sake: nearest neighbours and comparisons round nothing."""


def halve(content: bytes) -> bytes:
    """Converts a float32 file; inputs, outputs, warp and clip stay float32.

    Near 1, neighbouring float16 numbers are 0.03 pixels of a 64-pixel patch apart, in the
    units of a warp's coordinates.
    """
    model = onnx.load_from_string(content)
    halved = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[kind for kind in DEFAULT_OP_BLOCK_LIST if kind not in _FINE],
        node_block_list=[node.name for node in Graph(model.graph).tail()],
    )
    _skip_round_trips(halved.graph)
    # The casts at the inputs were appended behind their readers.
    OnnxModel(halved).topological_sort(is_deterministic=True)
    return bytes(halved.SerializeToString(deterministic=True))


def _skip_round_trips(graph: onnx.GraphProto) -> None:
    """Puts in place of a tensor that was halved and widened again the tensor itself.

    The converter halves every input and output on principle; the warp shall move the
    picture's own pixels.
    """
    nodes = Graph(graph)
    for node in graph.node:
        halved = nodes.maker(node.input[0]) if _casts_to(node, onnx.TensorProto.FLOAT) else None
        if halved is not None and _casts_to(halved, onnx.TensorProto.FLOAT16):
            node.op_type = "Identity"
            node.input[0] = halved.input[0]
            del node.attribute[:]
    read = {name for node in graph.node for name in node.input}
    read |= {tensor.name for tensor in graph.output}
    kept = [node for node in graph.node if read & set(node.output)]
    del graph.node[:]
    graph.node.extend(kept)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == kind for attribute in node.attribute
    )

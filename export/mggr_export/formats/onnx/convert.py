"""Conversion to ONNX: float32 or float16, the warp one native op.

While a model is traced for ONNX, its warps are marker ops; the converter asks here what to
write in their place.

tf2onnx numbers what it makes by a counter, and walks sets of names on its way: two processes get
the same computation with its nodes in another order and under other numbers.

References:
    [1] ONNX operators, GridSample, opset 16.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx import optimizer
from tf2onnx.tfonnx import process_tf_graph

from mggr_export.formats.keras_models import FrozenModel, freeze
from mggr_export.formats.onnx.graph import CONVOLUTIONS, Graph
from mggr_tf.models.warp import Interpolation, warps_traced_as

OPSET = 17
"""The highest that TensorRT 8.5 reads; GridSample is there from 16 on."""

_MARKER = "PyFuncStateless"


def marked_warp(image: tf.Tensor, flow: tf.Tensor, interpolation: Interpolation) -> tf.Tensor:
    """Stands for a warp in a graph that is converted, never run."""

    def never_run(image: Any, flow: Any) -> Any:
        raise AssertionError("a warp's marker is for conversion")

    with tf.name_scope(f"grid_sample_{interpolation}"):
        made = tf.numpy_function(never_run, [image, flow], tf.float32, stateful=False)
    return tf.ensure_shape(made, image.shape)


def handlers() -> dict[str, tuple[Any, list[Any]]]:
    """What tf2onnx takes as `custom_op_handlers`."""
    return {_MARKER: (_write_grid_sample, [])}


def _write_grid_sample(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """Replaces a marker by Mul, Add, Transpose, GridSample, Transpose.

    `GridSample` takes pictures as NCHW and places in [-1, 1], which with `align_corners`
    are the centres of the outermost pixels: the marker's flow, in pixels, is scaled and
    added to every pixel's own place.
    """
    image, flow = node.input
    shape = ctx.get_shape(image)
    _, height, width, _ = shape
    scale = np.array([2 / (width - 1), 2 / (height - 1)], np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    places = np.stack([x, y], -1)[None] * scale - np.float32(1)
    interpolation = "bicubic" if "grid_sample_bicubic" in name else "bilinear"
    dtype = ctx.get_dtype(image)
    channels_first = [shape[0], shape[3], height, width]
    ctx.remove_node(name)

    def add(kind: str, inputs: list[str], size: list[int], **attributes: Any) -> str:
        made = ctx.make_node(
            kind,
            inputs,
            attr=attributes,
            name=f"{name}/{kind}_{len(ctx.get_nodes())}",
            shapes=[size],
            dtypes=[dtype],
        )
        return str(made.output[0])

    scales = ctx.make_const(f"{name}/scale", scale).output[0]
    own_places = ctx.make_const(f"{name}/places", places).output[0]
    offsets = add("Mul", [flow, scales], ctx.get_shape(flow))
    grid = add("Add", [offsets, own_places], ctx.get_shape(flow))
    picture = add("Transpose", [image], channels_first, perm=[0, 3, 1, 2])
    warped = add(
        "GridSample",
        [picture, grid],
        channels_first,
        mode=interpolation,
        padding_mode="border",
        align_corners=1,
    )
    ctx.make_node(
        "Transpose",
        [warped],
        attr={"perm": [0, 2, 3, 1]},
        name=name,
        outputs=[node.output[0]],
        shapes=[shape],
        dtypes=[dtype],
    )


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


_NUMBERED = re.compile(r"__\d+")
"""What tf2onnx's counter leaves in a name."""


def canonical(graph: onnx.GraphProto) -> None:
    """Reorders and renames a graph in place; it computes what it computed.

    Nodes stand in depth-first order from the outputs, each behind what it reads. What multiplies by
    weights keeps its layer's name, without tf2onnx's numbers; any other node is named for its op,
    as tf2onnx merges equal ones and keeps the name of either. A tensor is named for the node
    that makes it, a constant for the first one that reads it. The graph's own inputs and outputs
    keep their names; inferred types (`value_info`) are dropped: who needs them infers them again.
    """
    nodes = list(_depth_first(graph))
    constants = {constant.name: constant for constant in graph.initializer}
    names = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)}
    used = [constants[tensor.name] for tensor in graph.output if tensor.name in constants]
    seen: Counter[str] = Counter(names.values())
    for node in nodes:
        layer = _NUMBERED.sub("", node.name) if node.op_type in CONVOLUTIONS else ""
        node.name = _free(layer or node.op_type, seen)
        for at, tensor in enumerate(node.input):
            if tensor in constants and tensor not in names:
                names[tensor] = _free(f"{node.name}/{at}", seen)
                used.append(constants[tensor])
        for at, tensor in enumerate(node.output):
            if tensor and tensor not in names:
                names[tensor] = _free(f"{node.name}:{at}", seen)
    for node in nodes:
        _replace(node.input, [names[tensor] if tensor else "" for tensor in node.input])
        _replace(node.output, [names[tensor] if tensor else "" for tensor in node.output])
        _replace(node.attribute, sorted(node.attribute, key=lambda one: one.name))
    for constant in used:
        constant.name = names[constant.name]
    _replace(graph.node, nodes)
    _replace(graph.initializer, used)
    del graph.value_info[:]


def _depth_first(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    makers = {tensor: node for node in graph.node for tensor in node.output if tensor}
    placed: set[int] = set()
    for wanted in graph.output:
        waiting = [wanted.name]
        while waiting:
            node = makers.get(waiting[-1])
            if node is None or id(node) in placed:
                waiting.pop()
                continue
            unmade = [
                tensor
                for tensor in node.input
                if tensor in makers and id(makers[tensor]) not in placed
            ]
            if unmade:
                waiting.extend(reversed(unmade))
                continue
            placed.add(id(node))
            waiting.pop()
            yield node


def _free(name: str, seen: Counter[str]) -> str:
    """The name, or the name with the first number that makes it the only one."""
    seen[name] += 1
    if seen[name] == 1:
        return name
    return _free(f"{name}_{seen[name]}", seen)


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Puts values in place of what a repeated field holds, among them perhaps its own."""
    kept = [value if isinstance(value, str) else _copied(value) for value in values]
    del field[:]
    field.extend(kept)


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


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

"""Convert models to ONNX in float32 or float16. The warp becomes one native op.

The warp is the part of a redirector that moves pixels. While a model is traced for ONNX, a marker
op stands for each warp. The converter then calls a handler in this module. The handler replaces
each marker by the op `GridSample`.

tf2onnx numbers nodes with a counter and iterates over sets of names. Two processes therefore
produce the same computation with different orders and numbers of the nodes. `canonical` removes
these differences.

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
from mggr_export.formats.onnx.graph import CONVOLUTIONS, OPSET, Graph
from mggr_tf.models.warp import Interpolation, warps_traced_as

_MARKER = "PyFuncStateless"


def marked_warp(image: tf.Tensor, flow: tf.Tensor, interpolation: Interpolation) -> tf.Tensor:
    """Return a marker op that stands for a warp.

    The graph with the marker is only converted, and never run.
    """

    def never_run(image: Any, flow: Any) -> Any:
        raise AssertionError("the marker of a warp can only be converted, not run")

    with tf.name_scope(f"grid_sample_{interpolation}"):
        made = tf.numpy_function(never_run, [image, flow], tf.float32, stateful=False)
    return tf.ensure_shape(made, image.shape)


def handlers() -> dict[str, tuple[Any, list[Any]]]:
    """Return the value of tf2onnx's argument `custom_op_handlers`."""
    return {_MARKER: (_write_grid_sample, [])}


def _write_grid_sample(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
    """Replace a marker by Mul, Add, Transpose, GridSample and Transpose.

    `GridSample` expects NCHW pictures and coordinates in [-1, 1]. With `align_corners`, -1 and 1
    are the centres of the outermost pixels. The flow of the marker is in pixels. The handler scales
    the flow to the coordinate range [-1, 1], and adds the result to the coordinates of every pixel.
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
"""Ops that run in float16, although the converter's block list contains them. The block list
defines the ops that stay float32. It contains these ops because of other runtimes.
Nearest-neighbour resizing and comparisons do not round.
"""


def halve(content: bytes) -> bytes:
    """Convert a float32 file to float16.

    Inputs, outputs, warp and clip stay float32. The warp stays float32 because float16 is too
    coarse for its coordinates. In a patch of 64 x 64 pixels, adjacent float16 coordinates near 1
    differ by 0.03 pixels.
    """
    model = onnx.load_from_string(content)
    halved = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[kind for kind in DEFAULT_OP_BLOCK_LIST if kind not in _FINE],
        node_block_list=[node.name for node in Graph(model.graph).tail()],
    )
    _skip_round_trips(halved.graph)
    # The converter appends the casts of the inputs at the end. But each cast must come before the
    # nodes that read its output.
    OnnxModel(halved).topological_sort(is_deterministic=True)
    return bytes(halved.SerializeToString(deterministic=True))


def _skip_round_trips(graph: onnx.GraphProto) -> None:
    """Remove casts from float32 to float16 and back to float32.

    The converter casts every input and output to float16. But the warp must read the original
    pixels of the picture. Therefore, the warp reads the original float32 tensor.
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
"""Pattern of the number that tf2onnx's counter adds to a name."""


def canonical(graph: onnx.GraphProto) -> None:
    """Reorder and rename a graph in place without changing its computation.

    The nodes are sorted in depth-first order, starting from the outputs. Each node comes after the
    nodes that produce its inputs.

    A node with weights keeps the name of its layer, without tf2onnx's numbers. Any other node gets
    the name of its op. The reason is that tf2onnx merges equal nodes and keeps only one of their
    names. A tensor gets the name of the node that produces it. A constant gets the name of the
    first node that reads it. The inputs and outputs of the graph keep their names.

    Inferred types (`value_info`) are removed, because a reader of the file can infer them again.
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
    """Return the name if it is unique. Otherwise, append the first number that makes it unique."""
    seen[name] += 1
    if seen[name] == 1:
        return name
    return _free(f"{name}_{seen[name]}", seen)


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Replace the elements of a repeated protobuf field by the given values.

    The values may be elements of the same field.
    """
    kept = [value if isinstance(value, str) else _copied(value) for value in values]
    del field[:]
    field.extend(kept)


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


_DEPRECATED = b"tf_half_pixel_for_nn"


def convert_float32(model: keras.Model, *, batch: int = 1) -> bytes:
    """Convert a model to float32. The names of its inputs and outputs do not change."""
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
    """Replace the deprecated coordinate mode of nearest-neighbour resizing.

    tf2onnx writes a deprecated mode of TensorFlow. For integer factors, the mode `asymmetric` reads
    the same pixels if `nearest_mode` is `floor`.
    """
    for node in graph.node:
        said = {attribute.name: attribute for attribute in node.attribute}
        where = said.get("coordinate_transformation_mode")
        if node.op_type == "Resize" and where is not None and where.s == _DEPRECATED:
            where.s = b"asymmetric"
            said["nearest_mode"].s = b"floor"


def _names(frozen: FrozenModel) -> dict[str, tuple[str, str]]:
    """Return a dict of a model's inputs and outputs. The keys are tensor names in the graph. Each
    value contains the kind (`input` or `output`) and the name in the model.
    """
    function = frozen.function
    inputs = [t for t in function.inputs if t.dtype != tf.resource]
    outputs = zip(function.outputs, sorted(function.structured_outputs), strict=True)
    named = {t.name: ("input", t.name.split(":")[0]) for t in inputs}
    return named | {t.name: ("output", given) for t, given in outputs}

"""Read the graph of an ONNX file, edit its metadata, and check its structure.

The structure is checked without running the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from mggr_edge.errors import ArtifactError
from mggr_tf.config.conversion_limits import Precision

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Ops that multiply by weights."""

QUANTISED = ("Conv",)
"""Ops that are quantized.

Dense layers that output two angles stay float. These layers take almost no time. The rounding error
of such a layer would directly be an error of the angles.
"""

QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"

OPSET = 17
"""Highest opset that TensorRT 8.5 reads. GridSample is available from opset 16 on."""

TENSORRT_OPS = frozenset(
    {
        *("Conv", "Gemm", "MatMul", "QuantizeLinear", "DequantizeLinear"),
        *("Add", "Mul", "Sub", "Min", "Max", "Clip"),
        *("Relu", "LeakyRelu", "Sigmoid", "Tanh"),
        *("Concat", "Flatten", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze"),
        *("Cast", "Transpose", "Unsqueeze", "DepthToSpace", "SpaceToDepth", "Resize"),
        "GridSample",
        *("GlobalAveragePool", "ReduceMean"),
    }
)
"""Ops that a graph may contain.

The documentation of TensorRT's parser lists these ops as supported [1]. Redirectors and estimators
may need these ops. All these ops accept float32. GridSample requires TensorRT 8.5 or later.

References:
    [1] github.com/onnx/onnx-tensorrt, docs/operators.md.
"""

_INVALID = (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)

_WHY_NOT = {
    "Gather": "the warp must be a GridSample op",
    "GatherND": "the warp must be a GridSample op",
}
_RESIZES = (("nearest", "asymmetric"), ("linear", "half_pixel"))


class Graph:
    """Nodes of a graph. The methods find nodes by the tensors that the nodes produce or read.

    Attributes:
        nodes: Nodes in order of execution.
        constants: Constants (initializers) by name.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._outputs = [tensor.name for tensor in graph.output]

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that produces a tensor.

        The result is `None` for inputs and constants.
        """
        return self._makers.get(tensor)

    def readers(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Return all nodes that read an output of the given node."""
        made = set(node.output)
        return (reader for reader in self.nodes if made & set(reader.input))

    def tail(self) -> tuple[onnx.NodeProto, ...]:
        """Return the nodes between the last convolutions and the outputs, in order of execution.

        In a redirector, these nodes process the flow and the residual, warp the picture, add both
        parts, and clip the sum.
        """
        found: set[str] = set()
        waiting = list(self._outputs)
        while waiting:
            node = self.maker(waiting.pop())
            if node is None or node.op_type in CONVOLUTIONS or node.output[0] in found:
                continue
            found.add(node.output[0])
            waiting += list(node.input)
        return tuple(node for node in self.nodes if node.output[0] in found)


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """Return the file content with one more metadata entry.

    If the file has an entry of the same name, this entry is replaced.
    """
    model = onnx.load_from_string(content)
    notes = {prop.key: prop.value for prop in model.metadata_props} | {name: text}
    onnx.helper.set_model_props(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def metadata_of(content: bytes) -> dict[str, str]:
    """Return all metadata entries by name."""
    return {prop.key: prop.value for prop in onnx.load_from_string(content).metadata_props}


def check_structure(content: bytes, *, precision: Precision) -> None:
    """Check that a file matches its precision, and that TensorRT can read the file.

    The file must obey these rules:

    - ONNX's full checker accepts the file, and the opset is `OPSET`.
    - TensorRT supports all ops and resize modes.
    - The sizes of all inputs and outputs are fixed.
    - Only tensors that convolutions read are quantized. The quantization is int8 and symmetric.
    - Weights have the dtype of the precision.
    - All nodes after the last convolutions (the tail) compute in float32.

    Raises:
        ArtifactError: If the file breaks a rule.
    """
    model = _checked(content)
    _ops_are_known(model)
    _sizes_are_fixed(model)
    _resizes_are_plain(model.graph)
    graph = Graph(model.graph)
    _quantisation_is(precision, graph)
    _weights_are(np.dtype("float16" if precision == "float16" else "float32"), graph)
    _tail_is_float(model)


def op_counts(content: bytes) -> dict[str, int]:
    """Return a dict: name of an op -> number of its occurrences in the graph."""
    nodes = onnx.load_from_string(content).graph.node
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def _checked(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except _INVALID as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtifactError(
            f"invalid ONNX model: {reason}", code="onnx-model-invalid", reason=reason
        ) from error
    opsets = {(opset.domain or "ai.onnx"): opset.version for opset in model.opset_import}
    if opsets.get("ai.onnx") != OPSET:
        raise ArtifactError(
            f"the model uses opset {opsets.get('ai.onnx')}, expected {OPSET}",
            code="opset-differs",
            found=opsets.get("ai.onnx"),
            expected=OPSET,
        )
    return model


def _ops_are_known(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise ArtifactError(
                f"op {node.domain}.{node.op_type} {node.name} is not a standard ONNX op",
                code="op-not-standard",
                domain=node.domain,
                op=node.op_type,
                node=node.name,
            )
        if node.op_type not in TENSORRT_OPS:
            why = _WHY_NOT.get(node.op_type, "TensorRT's parser does not list this op")
            raise ArtifactError(
                f"op {node.op_type} {node.name} is not allowed: {why}",
                code="op-not-allowed",
                op=node.op_type,
                node=node.name,
                reason=why,
            )


def _sizes_are_fixed(model: onnx.ModelProto) -> None:
    for tensor in (*model.graph.input, *model.graph.output):
        sizes = [one.dim_value for one in tensor.type.tensor_type.shape.dim]
        if any(size < 1 for size in sizes):
            raise ArtifactError(
                f"tensor {tensor.name} has a size that is not fixed: {sizes}",
                code="size-not-fixed",
                tensor=tensor.name,
                sizes=sizes,
            )


def _resizes_are_plain(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "Resize":
            said = {a.name: a.s.decode() for a in node.attribute}
            mode = (
                said.get("mode", "nearest"),
                said.get("coordinate_transformation_mode", "half_pixel"),
            )
            if mode not in _RESIZES:
                raise ArtifactError(
                    f"Resize {node.name} uses {mode}, expected one of {_RESIZES}",
                    code="resize-mode",
                    node=node.name,
                    found=mode,
                )


def _weights_are(dtype: np.dtype, graph: Graph) -> None:
    """Check the dtype of weights that are not quantized.

    The function `_quantisation_is` checks quantized weights.
    """
    for node in graph.nodes:
        weights = graph.constants.get(node.input[1]) if node.op_type in CONVOLUTIONS else None
        if weights is not None and numpy_helper.to_array(weights).dtype != dtype:
            found = numpy_helper.to_array(weights).dtype
            raise ArtifactError(
                f"{node.op_type} {node.name} has {found} weights, expected {dtype}",
                code="weights-dtype",
                op=node.op_type,
                node=node.name,
                found=found,
                expected=dtype,
            )


def _tail_is_float(model: onnx.ModelProto) -> None:
    """Check that all nodes after the last convolutions compute in float32, including the warp."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    tensors = (*inferred.value_info, *inferred.output)
    dtypes = {tensor.name: tensor.type.tensor_type.elem_type for tensor in tensors}
    for node in Graph(model.graph).tail():
        for name in node.output:
            if dtypes[name] != onnx.TensorProto.FLOAT:
                kind = onnx.TensorProto.DataType.Name(dtypes[name])
                raise ArtifactError(
                    f"{node.op_type} {node.name} computes in {kind}; all ops after the last "
                    "convolutions, including the warp, must compute in float32",
                    code="tail-not-float",
                    op=node.op_type,
                    node=node.name,
                    found=kind,
                )


def _quantisation_is(precision: Precision, graph: Graph) -> None:
    for node in graph.nodes:
        if node.op_type in (QUANTISE, DEQUANTISE):
            if precision != "int8":
                raise ArtifactError(
                    f"the op {node.op_type} {node.name} must not occur in a {precision} file; only "
                    "int8 files may contain quantized tensors",
                    code="quantized-op-in-float-file",
                    op=node.op_type,
                    node=node.name,
                    precision=precision,
                )
            _is_symmetric(node, graph)
            _is_before_convolutions(node, graph)
        elif node.op_type in QUANTISED and precision == "int8":
            for kind, tensor in zip(("picture", "weights"), node.input[:2], strict=True):
                maker = graph.maker(tensor)
                if maker is None or maker.op_type != DEQUANTISE:
                    raise ArtifactError(
                        f"{node.op_type} {node.name} reads its {kind} in float32, expected int8",
                        code="convolution-reads-float",
                        op=node.op_type,
                        node=node.name,
                        input=kind,
                    )


def _is_symmetric(node: onnx.NodeProto, graph: Graph) -> None:
    if len(node.input) < 3 or node.input[2] not in graph.constants:
        raise ArtifactError(
            f"{node.op_type} {node.name} has no constant zero-point",
            code="zero-point-not-constant",
            op=node.op_type,
            node=node.name,
        )
    zeros = numpy_helper.to_array(graph.constants[node.input[2]])
    if zeros.dtype != np.int8 or np.any(zeros):
        raise ArtifactError(
            f"{node.op_type} {node.name} has a {zeros.dtype} zero-point of {zeros.ravel()[0]}; "
            "TensorRT accepts only int8 with zero-point 0",
            code="zero-point-not-zero",
            op=node.op_type,
            node=node.name,
            found=zeros.ravel()[0],
            dtype=zeros.dtype,
        )


def _is_before_convolutions(node: onnx.NodeProto, graph: Graph) -> None:
    wanted = (DEQUANTISE,) if node.op_type == QUANTISE else QUANTISED
    for reader in graph.readers(node):
        if reader.op_type not in wanted:
            raise ArtifactError(
                f"{reader.op_type} {reader.name} reads the quantized output of {node.name}; only "
                "convolutions may read quantized tensors",
                code="reader-of-quantized-tensor",
                op=reader.op_type,
                node=reader.name,
                source=node.name,
            )

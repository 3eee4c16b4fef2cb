"""Graph of a TFLite file: ops, metadata, and checks of the structure.

The graph is read from the file's own tables. An interpreter would show the graph after its
delegates have changed it.

The checks detect problems that parity does not detect: a warp with slightly rounded coordinates,
an int8 file that computes in float, or an op that the device's interpreter lacks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np

from mggr_edge.errors import ArtifactError, BundleError
from mggr_tf.config.conversion_limits import Precision

CONVOLUTIONS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}
)
"""Ops that multiply by weights. They take most of the time, so quantization targets them."""

_MARK = b"TFL3"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `shape` has -1 for every size that is not fixed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool


@dataclass(frozen=True)
class Op:
    """One op; `kind` is the name of its builtin, or `custom:<name>`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The only subgraph of a file.

    Attributes:
        ops: Ops in order of execution.
        tensors: All tensors. `Op.inputs` and `Op.outputs` are indices into this tuple.
        inputs, outputs: Tensor indices of the model's own inputs and outputs.
    """

    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def tail(self) -> tuple[Op, ...]:
        """Return the ops between the last convolutions and the outputs, in order.

        In a redirector, these are the ops that convert the flow head's output to pixels, the warp
        with all its coordinates, the ops from the residual to the picture, the sum and the clip.
        These ops have no weights, so quantizing them has no benefit.
        """
        maker = {index: op for op in self.ops for index in op.outputs}
        found: set[int] = set()
        waiting = [index for index in self.outputs if index in maker]
        while waiting:
            op = maker[waiting.pop()]
            if op.kind in CONVOLUTIONS or op.outputs[0] in found:
                continue
            found.add(op.outputs[0])
            waiting += [index for index in op.inputs if index in maker]
        return tuple(op for op in self.ops if op.outputs[0] in found)

    def made_by(self, ops: tuple[Op, ...]) -> tuple[Tensor, ...]:
        """Return all tensors that these ops write."""
        return tuple(self.tensors[index] for op in ops for index in op.outputs)


def read_graph(content: bytes) -> Graph:
    """Read the graph of a .tflite file.

    Raises:
        BundleError: If the content is not such a file, or has several subgraphs.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    if content[4:8] != _MARK:
        raise BundleError("not a TFLite file: it has no TFL3 identifier", code="not-a-tflite-file")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        raise BundleError(
            f"the TFLite file has {len(model.subgraphs)} subgraphs, expected 1",
            code="subgraph-count",
            found=len(model.subgraphs),
        )
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    dtypes = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    kinds = [_kind(code, names) for code in model.operatorCodes]
    main = model.subgraphs[0]
    return Graph(
        ops=tuple(
            Op(kinds[op.opcodeIndex], _indices(op.inputs), _indices(op.outputs))
            for op in main.operators
        ),
        tensors=tuple(
            Tensor(
                name=t.name.decode(),
                dtype=dtypes[t.type],
                shape=_numbers(t.shapeSignature if t.shapeSignature is not None else t.shape),
                constant=model.buffers[t.buffer].data is not None,
            )
            for t in main.tensors
        ),
        inputs=_indices(main.inputs),
        outputs=_indices(main.outputs),
    )


def _kind(code: Any, names: dict[int, str]) -> str:
    if code.customCode is not None:
        return f"custom:{code.customCode.decode()}"
    # Old files store the op's number in a one-byte field. The larger of both fields is valid.
    return names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _indices(values: Any) -> tuple[int, ...]:
    """Return tensor indices without -1, which marks an omitted optional input."""
    return tuple(index for index in _numbers(values) if index >= 0)


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(v) for v in values)


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """Return the file with one more metadata entry; an entry of the same name is replaced."""
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = [m for m in model.metadata or [] if m.name != name.encode()]
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    note = schema.MetadataT()
    note.name, note.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(note)
    builder = flatbuffers.Builder(len(content) + len(text))
    builder.Finish(model.Pack(builder), file_identifier=_MARK)
    return bytes(builder.Output())


def metadata_of(content: bytes) -> dict[str, str]:
    """Return all metadata entries that are text, by name."""
    model = _schema().ModelT.InitFromPackedBuf(content, 0)
    found = {}
    for note in model.metadata or []:
        data = model.buffers[note.buffer].data
        if data is None:
            continue
        try:
            found[note.name.decode()] = bytes(data).decode()
        except UnicodeDecodeError:
            continue
    return found


def _schema() -> Any:
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


_FORBIDDEN = {
    "GATHER_ND": "it is slow and large; use a flattened GATHER",
}
_FLOATS_AND_INDICES = frozenset({"float32", "int32", "int64", "bool"})


def check_structure(graph: Graph, *, precision: Precision) -> None:
    """Reject a file that does not match its precision.

    Raises:
        ArtifactError: If an op is not a builtin or is forbidden, if a size is not fixed, if a
            tensor between the last convolutions and the outputs (including the warp) is
            quantized, or if a convolution has another precision.
    """
    for check in (_only_builtins, _fixed_sizes, _float_tail):
        check(graph)
    _convolutions_are(precision, graph)


def op_counts(graph: Graph) -> dict[str, int]:
    """Return the number of occurrences of each op, by name."""
    return dict(sorted(Counter(op.kind for op in graph.ops).items()))


def _only_builtins(graph: Graph) -> None:
    for op in graph.ops:
        if op.kind.startswith("custom:"):
            raise ArtifactError(
                f"op {op.kind} is not a TFLite builtin; devices cannot run it",
                code="op-not-builtin",
                op=op.kind,
            )
        if op.kind in _FORBIDDEN:
            raise ArtifactError(
                f"op {op.kind} is not allowed: {_FORBIDDEN[op.kind]}",
                code="op-not-allowed",
                op=op.kind,
                reason=_FORBIDDEN[op.kind],
            )


def _fixed_sizes(graph: Graph) -> None:
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if any(size < 1 for size in tensor.shape):
            raise ArtifactError(
                f"tensor {tensor.name} has a size that is not fixed: {list(tensor.shape)}",
                code="size-not-fixed",
                tensor=tensor.name,
                sizes=list(tensor.shape),
            )


def _float_tail(graph: Graph) -> None:
    for op in graph.tail():
        for tensor in graph.made_by((op,)):
            if tensor.dtype not in _FLOATS_AND_INDICES:
                raise ArtifactError(
                    f"{op.kind} {tensor.name.split(';')[0]} computes in {tensor.dtype}; the warp "
                    "and all other ops after the last convolutions must compute in float",
                    code="tail-not-float",
                    op=op.kind,
                    tensor=tensor.name.split(";")[0],
                    found=tensor.dtype,
                )


def _convolutions_are(precision: Precision, graph: Graph) -> None:
    if precision == "float16":
        _weights_are_halved(graph)
        return
    for op in graph.ops:
        if op.kind in CONVOLUTIONS:
            for index in op.inputs[:2]:  # picture and weights; biases are int32
                if graph.tensors[index].dtype != precision:
                    raise ArtifactError(
                        f"{op.kind} {_name(op, graph)} reads "
                        f"{graph.tensors[index].dtype}, expected {precision}",
                        code="convolution-input-dtype",
                        op=op.kind,
                        tensor=_name(op, graph),
                        found=graph.tensors[index].dtype,
                        expected=precision,
                    )


def _weights_are_halved(graph: Graph) -> None:
    """Check that weights are float16 constants, and that convolutions compute in float32."""
    maker = {index: op for op in graph.ops for index in op.outputs}
    for op in graph.ops:
        if op.kind not in CONVOLUTIONS:
            continue
        picture, weights = (graph.tensors[index].dtype for index in op.inputs[:2])
        if (picture, weights) != ("float32", "float32"):
            raise ArtifactError(
                f"{op.kind} {_name(op, graph)} computes in {picture} and {weights}, expected "
                "float32",
                code="convolution-not-float32",
                op=op.kind,
                tensor=_name(op, graph),
                picture=picture,
                weights=weights,
            )
        widened = maker.get(op.inputs[1])
        stored = None if widened is None else graph.tensors[widened.inputs[0]]
        if stored is None or (stored.dtype, stored.constant) != ("float16", True):
            raise ArtifactError(
                f"{op.kind} {_name(op, graph)} has weights that are not float16",
                code="weights-not-float16",
                op=op.kind,
                tensor=_name(op, graph),
            )


def _name(op: Op, graph: Graph) -> str:
    return graph.tensors[op.outputs[0]].name.split(";")[0]

"""Read the graph of a TFLite file, edit its metadata, and check its structure.

The graph is read from the tables in the file. An interpreter would show a graph that its delegates
have already changed.

The checks detect three problems that a comparison with Keras does not detect. The coordinates of
the warp may be slightly rounded. An int8 file may compute in float. A file may contain an op that
the device's interpreter does not support.
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
"""Ops that multiply by weights. These ops take most of the time. Therefore they are quantized."""

_MARK = b"TFL3"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file. In `shape`, -1 stands for a size that is not fixed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool


@dataclass(frozen=True)
class Op:
    """One op of a file. `kind` is the name of a builtin op, or `custom:<name>`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """Graph of a file with one subgraph.

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
        """Return the ops between the last convolutions and the outputs, in order of execution.

        In a redirector, these ops convert the output of the flow head to pixels, compute the
        coordinates of the warp, and warp the picture. These ops also process the residual, add it
        to the picture, and clip the sum. These ops have no weights, so quantizing them has no
        benefit.
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
        """Return all tensors that the given ops write."""
        return tuple(self.tensors[index] for op in ops for index in op.outputs)


def read_graph(content: bytes) -> Graph:
    """Read the graph of a .tflite file.

    Raises:
        BundleError: If the content is not a .tflite file, or if it has several subgraphs.
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
    # Old files store the number of the op in a one-byte field. The larger number of both fields is
    # valid.
    return names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _indices(values: Any) -> tuple[int, ...]:
    """Return tensor indices without -1. The index -1 marks an optional input that is omitted."""
    return tuple(index for index in _numbers(values) if index >= 0)


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(v) for v in values)


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """Return the file content with one more metadata entry.

    If the file has an entry of the same name, this entry is replaced.
    """
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
    """Return a dict of all metadata entries that contain text: name -> text."""
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
    "GATHER_ND": "this op is slow and large; use a flattened GATHER",
}
_FLOATS_AND_INDICES = frozenset({"float32", "int32", "int64", "bool"})


def check_structure(graph: Graph, *, precision: Precision) -> None:
    """Check that the structure of a file matches its precision.

    The file must obey these rules:

    - All ops are builtin ops, and none of them is forbidden.
    - The sizes of all inputs and outputs are fixed.
    - All ops after the last convolutions compute in float, including the warp.
    - All convolutions have the given precision.

    Raises:
        ArtifactError: If the file breaks a rule.
    """
    for check in (_only_builtins, _fixed_sizes, _float_tail):
        check(graph)
    _convolutions_are(precision, graph)


def op_counts(graph: Graph) -> dict[str, int]:
    """Return a dict: name of an op -> number of its occurrences in the graph."""
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
                    f"{op.kind} {tensor.name.split(';')[0]} computes in {tensor.dtype}; all ops "
                    "after the last convolutions, including the warp, must compute in float",
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

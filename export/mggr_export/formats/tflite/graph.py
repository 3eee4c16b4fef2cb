"""What stands inside a .tflite file: its ops, its tensors and their dtypes.

Read from the file's own tables, not from an interpreter, which would show the
graph after its delegates have rewritten it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mggr_edge.errors import BundleError

CONVOLUTIONS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}
)
"""The ops that multiply by weights: where time goes, and what quantisation is for."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `shape` has -1 where a size is open."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool


@dataclass(frozen=True)
class Op:
    """One op; `kind` is its builtin name, or `custom:<name>`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """One file's only subgraph.

    Attributes:
        ops: in order of execution.
        tensors: `Op.inputs` and `Op.outputs` are indices into this.
        inputs, outputs: indices of the model's own.
    """

    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def tail(self) -> tuple[Op, ...]:
        """The ops between the last convolutions and the outputs, in order.

        In a redirector: what turns the flow head's numbers into pixels, the
        warp with all its coordinates, the residual's way to the picture, sum
        and clip. Nothing in it has weights, so nothing is won by quantising it.
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
        """All tensors that these ops write."""
        return tuple(self.tensors[index] for op in ops for index in op.outputs)


def read_graph(content: bytes) -> Graph:
    """Reads a .tflite file.

    Raises:
        BundleError: the bytes are no such file, or one with several subgraphs.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise BundleError("not a TFLite file: it has no TFL3 mark")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        raise BundleError(f"a TFLite file with {len(model.subgraphs)} subgraphs, expected one")
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
    # Old files keep the op's number in a field of one byte; the larger one counts.
    return names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _indices(values: Any) -> tuple[int, ...]:
    """Tensor indices; -1 stands for an optional input that is not there."""
    return tuple(index for index in _numbers(values) if index >= 0)


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(v) for v in values)

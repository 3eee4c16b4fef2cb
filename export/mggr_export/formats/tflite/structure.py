"""Gates on what stands inside an exported file, whatever it computes.

Parity alone would let through a warp whose coordinates were rounded a little,
an int8 file that runs in float, or an op that the device's interpreter lacks.
"""

from __future__ import annotations

from collections import Counter

from mggr_export.errors import ArtifactError
from mggr_export.formats.tflite.graph import CONVOLUTIONS, Graph, Op
from mggr_tf.config.conversion_limits import Precision

_FORBIDDEN = {
    "GATHER_ND": "slow and large; a flattened GATHER is meant",
}
_FLOATS_AND_INDICES = frozenset({"float32", "int32", "int64", "bool"})


def check_structure(graph: Graph, *, precision: Precision) -> None:
    """Refuses a file that is not what its precision promises.

    Raises:
        ArtifactError: ops that are no builtins, open sizes, quantised tensors
            between the last convolutions and the outputs (the warp is among
            them), or convolutions of another precision.
    """
    for check in (_only_builtins, _fixed_sizes, _float_tail):
        check(graph)
    _convolutions_are(precision, graph)


def op_counts(graph: Graph) -> dict[str, int]:
    """How often each op occurs, by name."""
    return dict(sorted(Counter(op.kind for op in graph.ops).items()))


def _only_builtins(graph: Graph) -> None:
    for op in graph.ops:
        if op.kind.startswith("custom:"):
            raise ArtifactError(f"op {op.kind} is no TFLite builtin; a device cannot run it")
        if op.kind in _FORBIDDEN:
            raise ArtifactError(f"op {op.kind} must not be there: {_FORBIDDEN[op.kind]}")


def _fixed_sizes(graph: Graph) -> None:
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if any(size < 1 for size in tensor.shape):
            raise ArtifactError(f"tensor {tensor.name} has an open size: {list(tensor.shape)}")


def _float_tail(graph: Graph) -> None:
    for op in graph.tail():
        for tensor in graph.made_by((op,)):
            if tensor.dtype not in _FLOATS_AND_INDICES:
                raise ArtifactError(
                    f"{op.kind} {tensor.name.split(';')[0]} is {tensor.dtype}; the warp and "
                    "all that follows the last convolutions must be float"
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
                        f"{graph.tensors[index].dtype}, expected {precision}"
                    )


def _weights_are_halved(graph: Graph) -> None:
    """Every weight comes from a float16 constant, and whatever computes is float32."""
    maker = {index: op for op in graph.ops for index in op.outputs}
    for op in graph.ops:
        if op.kind not in CONVOLUTIONS:
            continue
        picture, weights = (graph.tensors[index].dtype for index in op.inputs[:2])
        if (picture, weights) != ("float32", "float32"):
            raise ArtifactError(
                f"{op.kind} {_name(op, graph)} computes in {picture} and {weights}, not float32"
            )
        widened = maker.get(op.inputs[1])
        stored = None if widened is None else graph.tensors[widened.inputs[0]]
        if stored is None or (stored.dtype, stored.constant) != ("float16", True):
            raise ArtifactError(f"{op.kind} {_name(op, graph)} has weights that are not float16")


def _name(op: Op, graph: Graph) -> str:
    return graph.tensors[op.outputs[0]].name.split(";")[0]

"""A part of a TFLite model: what some of its outputs need, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module, util
from typing import Any

_SCHEMA = "ai_edge_litert.schema_py_generated"
_IDENTIFIER = b"TFL3"


def can_be_parted() -> bool:
    """Whether this machine has what reads a model's graph; tflite-runtime has not."""
    return util.find_spec(_SCHEMA.split(".", maxsplit=1)[0]) is not None and bool(
        util.find_spec(_SCHEMA)
    )


def part_of(content: bytes, outputs: Collection[str]) -> bytes:
    """Leaves out of a model all that some outputs do not need; its inputs stay.

    Args:
        content: a model with a signature.
        outputs: names of the signature's outputs that are kept.

    Returns:
        a model that computes the same values for them.

    Raises:
        ImportError: `can_be_parted` is false.
        ValueError: the model has no signature, or one without these outputs.
    """
    schema, flatbuffers = import_module(_SCHEMA), import_module("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if not model.signatureDefs:
        raise ValueError("the model has no signature")
    signature = model.signatureDefs[0]
    kept = [one for one in signature.outputs if one.name.decode() in outputs]
    if len(kept) != len(set(outputs)):
        raise ValueError(f"the model has not all of the outputs {', '.join(sorted(outputs))}")
    signature.outputs = kept
    graph = model.subgraphs[signature.subgraphIndex]
    graph.outputs = [one.tensorIndex for one in kept]
    used = _leave_out_operators(graph)
    used_buffers = {graph.tensors[index].buffer for index in used}
    for index, tensor in enumerate(graph.tensors):
        if index not in used and tensor.buffer not in used_buffers:
            model.buffers[tensor.buffer].data = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _leave_out_operators(graph: Any) -> set[int]:
    """Keeps those that lead to the outputs; returns the tensors that they read and write."""
    used = {int(index) for index in (*graph.inputs, *graph.outputs)}
    wanted = {int(index) for index in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        if wanted.isdisjoint(map(int, operator.outputs)):
            continue
        kept.append(operator)
        wanted.update(int(index) for index in operator.inputs if index >= 0)
        used.update(map(int, operator.outputs))
    graph.operators = kept[::-1]
    return used | wanted

"""One order and one set of names for a graph: the same model becomes the same bytes.

tf2onnx numbers what it makes by a counter, and walks sets of names on its way: two processes get
the same computation with its nodes in another order and under other numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from mggr_export.formats.onnx.graph import CONVOLUTIONS

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

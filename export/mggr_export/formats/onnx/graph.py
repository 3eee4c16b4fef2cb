"""The graph of an ONNX file: who makes and reads what, and its notes."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


class Graph:
    """Nodes by what they make and read.

    Attributes:
        nodes: in order of execution.
        constants: by name.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._outputs = [tensor.name for tensor in graph.output]

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes a tensor; None for inputs and constants."""
        return self._makers.get(tensor)

    def readers(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The nodes that read what a node makes."""
        made = set(node.output)
        return (reader for reader in self.nodes if made & set(reader.input))

    def tail(self) -> tuple[onnx.NodeProto, ...]:
        """The nodes between the last convolutions and the outputs, in order: the warp, the
        way of flow and residual to it, sum and clip."""
        found: set[str] = set()
        waiting = list(self._outputs)
        while waiting:
            node = self.maker(waiting.pop())
            if node is None or node.op_type in CONVOLUTIONS or node.output[0] in found:
                continue
            found.add(node.output[0])
            waiting += list(node.input)
        return tuple(node for node in self.nodes if node.output[0] in found)


CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""The ops that multiply by weights."""


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """The file with one more note; one of that name is replaced."""
    model = onnx.load_from_string(content)
    notes = {prop.key: prop.value for prop in model.metadata_props} | {name: text}
    onnx.helper.set_model_props(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def metadata_of(content: bytes) -> dict[str, str]:
    """All notes by name."""
    return {prop.key: prop.value for prop in onnx.load_from_string(content).metadata_props}

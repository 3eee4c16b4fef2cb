"""Graph of an ONNX file: find the producer and the readers of a tensor, and edit metadata."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


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


CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Ops that multiply by weights."""


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

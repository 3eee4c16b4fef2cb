"""The convolutions that a traced function executes, and the networks they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

_BACKWARD = "gradient_tape"

PARTS = {
    "coarse_branch": "coarse branch",
    "fine_branch": "fine branch",
    "fine_warp": "fine warp",
    "generator": "generator",
    "discriminator": "discriminator",
    "taught_estimator": "estimator",
    "estimator": "estimator",
    "estimator_features": "estimator",
    "judge": "judge",
    "alexnet": "AlexNet",
    "vgg16_features": "VGG-16",
    "efficientnet": "EfficientNet",
    "warp": "warp",
    "coarse_warp": "warp",
    "random_view": "random views",
    "Adam": "optimizers",
    "moving_average": "moving averages",
}
"""Name of a model, layer or scope -> what it is called in tables."""

REST = "losses and the rest"


def part_of(name: str) -> str:
    """Whose an op is, by its name; the outermost known place decides."""
    known = (PARTS[place] for place in name.split("/")[:-1] if place in PARTS)
    return next(known, REST)


def is_backward(name: str) -> bool:
    """Whether an op is part of the way back."""
    return _BACKWARD in name.split("/")


Direction = Literal["forward", "to inputs", "to filters"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "to inputs", "to filters")

_SIZES = {"BackpropInput": 0, "BackpropFilter": 1}
"""Which input of a way back is no tensor of numbers, but the shape of what is asked for."""


@dataclass(frozen=True)
class Convolution:
    """One convolution of a graph.

    Attributes:
        name: of the op.
        op: its type: Conv2D, DepthwiseConv2dNative, or either's Backprop-Input or -Filter.
        part: whose it is; see `part_of`.
        direction: forward, or back to its inputs or its filters.
        inputs: shapes of its tensors in the op's order, without the one that is a shape itself.
        output: shape of what it makes.
        dtype: of all of them.
        attributes: strides, padding and dilations, as `tf.raw_ops` takes them.
    """

    name: str
    op: str
    part: str
    direction: Direction
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any]

    @property
    def mmac(self) -> float:
        """Million multiply-accumulates, a batch; places outside the picture count too."""
        if self.op.endswith("BackpropFilter"):
            filters, positions = self.output, self.inputs[1]
        elif self.op.endswith("BackpropInput"):
            filters, positions = self.inputs
        else:
            filters, positions = self.inputs[1], self.output
        return float(np.prod(positions[:3])) * float(np.prod(filters)) / 1e6


def convolutions_of(graph: tf.Graph) -> tuple[Convolution, ...]:
    """All that are executed, in the order in which they were traced.

    What no output and no side effect asks for is left out, as TensorFlow leaves it out: the
    gradients of frozen filters above all.

    Raises:
        ValueError: one has a shape that only its execution will tell.
    """
    return tuple(_convolution(op) for op in executed_ops(graph) if is_convolution(op.type))


def matrix_products_of(graph: tf.Graph) -> int:
    """How many matrix products are executed."""
    return sum(op.type in ("MatMul", "BatchMatMulV2") for op in executed_ops(graph))


def is_convolution(op: str) -> bool:
    """Whether an op's type, fused with others or not, says that it convolves."""
    return "conv2d" in op.lower()


def executed_ops(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Ops of a function's graph that its outputs and side effects ask for."""
    asked = [t.op for t in tf.nest.flatten(graph.outputs)] + list(graph.control_outputs)
    reached = set()
    while asked:
        op = asked.pop()
        if op not in reached:
            reached.add(op)
            asked += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return (op for op in graph.get_operations() if op in reached)


def _convolution(op: tf.Operation) -> Convolution:
    sizes = next((at for ending, at in _SIZES.items() if op.type.endswith(ending)), None)
    tensors = [tensor for at, tensor in enumerate(op.inputs) if at != sizes]
    return Convolution(
        name=op.name,
        op=op.type,
        part=part_of(op.name),
        direction=_direction(op),
        inputs=tuple(_shape(op, tensor) for tensor in tensors),
        output=_shape(op, op.outputs[0]),
        dtype=op.outputs[0].dtype.name,
        attributes={
            "strides": op.get_attr("strides"),
            "padding": op.get_attr("padding").decode(),
            "explicit_paddings": op.get_attr("explicit_paddings"),
            "dilations": op.get_attr("dilations"),
            "data_format": op.get_attr("data_format").decode(),
        },
    )


def _direction(op: tf.Operation) -> Direction:
    """A transposed convolution's way forward is another one's way back, so the name decides."""
    if not is_backward(op.name):
        return "forward"
    return "to filters" if op.type.endswith("BackpropFilter") else "to inputs"


def _shape(op: tf.Operation, tensor: tf.Tensor) -> tuple[int, ...]:
    shape = tensor.shape
    if not shape.is_fully_defined():
        raise ValueError(f"{op.name}: a shape of {shape} cannot be executed apart from its step")
    return tuple(shape.as_list())

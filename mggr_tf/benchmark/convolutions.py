"""Find the convolutions that a TensorFlow function executes, and measure the time of each op.

A convolution of the backward pass computes the gradient to its inputs or to its filters.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
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
"""Name of a model, a layer or a name scope -> name of the part of the network in tables."""

REST = "losses and the rest"


def part_of(name: str) -> str:
    """Return the part of the network that an op belongs to.

    The part is read from the name scopes in the op's name.

    If several of these scopes are in `PARTS`, the outermost scope is used.
    """
    known = (PARTS[place] for place in name.split("/")[:-1] if place in PARTS)
    return next(known, REST)


def is_backward(name: str) -> bool:
    """Return whether an op belongs to the backward pass."""
    return _BACKWARD in name.split("/")


Direction = Literal["forward", "to inputs", "to filters"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "to inputs", "to filters")

_SIZES = {"BackpropInput": 0, "BackpropFilter": 1}
"""Suffix of the type of a gradient op -> index of the input that contains the shape of the
output."""


@dataclass(frozen=True)
class Convolution:
    """One convolution of a graph.

    Attributes:
        name: name of the op.
        op: type of the op. The type is Conv2D, DepthwiseConv2dNative, or a gradient op of one of
            these two types. The type of a gradient op has the suffix BackpropInput or
            BackpropFilter.
        part: part of the network that the op belongs to (see `part_of`).
        direction: forward pass, gradient to the inputs, or gradient to the filters.
        inputs: shapes of the op's input tensors, in their order in the op. Inputs that only specify
            a shape are omitted.
        output: shape of the output tensor.
        dtype: dtype of all these tensors.
        attributes: strides, padding, dilations and data format, in the form that `tf.raw_ops`
            accepts.
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
        """Number of multiply-accumulates for a batch, in millions.

        Multiplications with padding are included.
        """
        if self.op.endswith("BackpropFilter"):
            filters, positions = self.output, self.inputs[1]
        elif self.op.endswith("BackpropInput"):
            filters, positions = self.inputs
        else:
            filters, positions = self.inputs[1], self.output
        return float(np.prod(positions[:3])) * float(np.prod(filters)) / 1e6


def convolutions_of(graph: tf.Graph) -> tuple[Convolution, ...]:
    """Return the convolutions that TensorFlow executes in a graph. They keep the graph's order.

    TensorFlow executes a convolution only if an output or a side effect depends on it. Other
    convolutions are omitted. Most of these are gradients of frozen filters.

    Raises:
        ValueError: a shape is not known before the graph is executed.
    """
    return tuple(_convolution(op) for op in executed_ops(graph) if is_convolution(op.type))


def matrix_products_of(graph: tf.Graph) -> int:
    """Return the number of matrix products of a graph that TensorFlow executes."""
    return sum(op.type in ("MatMul", "BatchMatMulV2") for op in executed_ops(graph))


def is_convolution(op: str) -> bool:
    """Return whether an op type is a convolution.

    The convolution may be fused with other ops.
    """
    return "conv2d" in op.lower()


def executed_ops(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Return the ops of a graph that TensorFlow executes.

    These are the ops on which an output or a side effect of the graph depends.
    """
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
    """Return the direction of a convolution.

    The name of the op determines whether the op belongs to the forward or the backward pass. The
    type of the op is not sufficient. A transposed convolution in the forward pass has the same type
    as the gradient of an ordinary convolution.
    """
    if not is_backward(op.name):
        return "forward"
    return "to filters" if op.type.endswith("BackpropFilter") else "to inputs"


def _shape(op: tf.Operation, tensor: tf.Tensor) -> tuple[int, ...]:
    shape = tensor.shape
    if not shape.is_fully_defined():
        raise ValueError(
            f"{op.name}: a convolution with a shape that is not fully known ({shape}) cannot be "
            "executed apart from its step"
        )
    return tuple(shape.as_list())


_PICOSECONDS = 1e9
"""Number of picoseconds in a millisecond."""

_EXECUTOR = "ExecutorState::Process"


@dataclass(frozen=True)
class OpTime:
    """Time of one op of a TensorFlow function.

    Attributes:
        name: name of the op. A fused op has the name of the last op that was fused.
        op: type of the executed op. For a fused op, this is the type after fusion.
        ms: median duration of one execution of the op, in milliseconds. Only the thread that ran
            the op is measured. The time of helper threads is not included.
    """

    name: str
    op: str
    ms: float


@dataclass(frozen=True)
class Trace:
    """Times of one call of a TensorFlow function.

    Attributes:
        ops: all executed ops.
        executor_ms: mean time per call that all threads together spent in the executor, in
            milliseconds. This time includes ops and the overhead between ops.
        call_ms: median duration of one call, in milliseconds.
    """

    ops: tuple[OpTime, ...]
    executor_ms: float
    call_ms: float

    def convolutions(self) -> Counter[str]:
        """Return op type -> number of executed convolutions.

        The op types are the types before fusion.
        """
        return Counter(plain_convolution(op.op) for op in self.ops if is_convolution(op.op))


def trace_of(call: Callable[[], object], *, calls: int) -> Trace:
    """Measure calls of a TensorFlow function with the profiler.

    Args:
        call: function that calls the TensorFlow function and waits for its result. Call this
            function once before the measurement. Otherwise the tracing of the graph would be
            measured, too.
        calls: number of profiled calls.

    Returns:
        times of the function and of its ops.
    """
    took: list[float] = []
    ops: dict[tuple[str, str], list[float]] = {}
    executor_ms = 0.0
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(calls):
                started = time.perf_counter()
                call()
                took.append(1000 * (time.perf_counter() - started))
        for event, ms in _events(Path(folder)):
            name, colon, op = event.rpartition(":")
            if event.startswith(_EXECUTOR):
                executor_ms += ms
            elif colon and not name.endswith(":") and op.isidentifier():
                ops.setdefault((name, op), []).append(ms)
    return Trace(
        tuple(
            # An op in a loop runs several times per call. Such an op is listed once for each
            # execution.
            OpTime(name, op, float(np.median(times)))
            for (name, op), times in ops.items()
            for _ in range(round(len(times) / calls))
        ),
        executor_ms / calls,
        float(np.median(took)),
    )


def plain_convolution(op: str) -> str:
    """Return the op type that a convolution had before oneDNN rewrote and fused it.

    For example, `_MklNativeFusedConv2D` becomes `Conv2D`.
    """
    kind = "DepthwiseConv2dNative" if "Depthwise" in op else "Conv2D"
    ways = (way for way in ("BackpropInput", "BackpropFilter") if way in op)
    return kind + next(ways, "")


def _events(folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the name and the duration in milliseconds of all profiled events."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for file in folder.rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    yield name, event.duration_ps / _PICOSECONDS


_WORDS = {
    "matrix products": ("MatMul",),
    "pooling": ("Pool",),
    "batch normalisation": ("BatchNorm",),
    "resizing": ("Resize",),
    "random numbers": ("Random", "Stateless"),
    "variables": ("ReadVariable", "Assign"),
    "moving, padding, selecting, casting": (
        *("Pad", "Slice", "Concat", "Transpose", "Reverse", "Gather", "Split", "Tile", "Pack"),
        *("Select", "Reshape", "DepthToSpace", "SpaceToDepth", "UnsortedSegmentSum", "Cast"),
    ),
}
"""Kind of op -> substrings of op types. The first matching kind is used."""

ARITHMETIC = "element-wise arithmetic"


def kind_of(op: OpTime) -> str:
    """Return the name that tables use for the kind of an op."""
    if is_convolution(op.op):
        if not is_backward(op.name):
            return "convolutions, forward"
        filters = plain_convolution(op.op).endswith("BackpropFilter")
        return "convolutions, to filters" if filters else "convolutions, to inputs"
    fitting = (kind for kind, words in _WORDS.items() if any(word in op.op for word in words))
    return next(fitting, ARITHMETIC)

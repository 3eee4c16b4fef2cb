"""The convolutions and other ops that a traced function executes, with their times."""

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


_PICOSECONDS = 1e9
"""In a millisecond."""

_EXECUTOR = "ExecutorState::Process"


@dataclass(frozen=True)
class OpTime:
    """One op of a traced function.

    Attributes:
        name: of the op; where ops were fused, that of their last.
        op: its type, as it is executed.
        ms: for one call of the function, the median over calls, on the thread that called it;
            those that helped it are not added.
    """

    name: str
    op: str
    ms: float


@dataclass(frozen=True)
class Trace:
    """A call of a traced function.

    Attributes:
        ops: all that it executes.
        executor_ms: that threads spent with ops and between them, all threads together.
        call_ms: from its start to its end.
    """

    ops: tuple[OpTime, ...]
    executor_ms: float
    call_ms: float

    def convolutions(self) -> Counter[str]:
        """How many were executed, by the type that they have in a graph."""
        return Counter(plain_convolution(op.op) for op in self.ops if is_convolution(op.op))


def trace_of(call: Callable[[], object], *, calls: int) -> Trace:
    """Records a traced function at work.

    Args:
        call: runs it to its end; has been run before.
        calls: how many to take medians over.
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
            # An op that a call runs several times, in a loop, is there as often.
            OpTime(name, op, float(np.median(times)))
            for (name, op), times in ops.items()
            for _ in range(round(len(times) / calls))
        ),
        executor_ms / calls,
        float(np.median(took)),
    )


def plain_convolution(op: str) -> str:
    """The type before oneDNN and fusion: `_MklNativeFusedConv2D` is a Conv2D."""
    kind = "DepthwiseConv2dNative" if "Depthwise" in op else "Conv2D"
    ways = (way for way in ("BackpropInput", "BackpropFilter") if way in op)
    return kind + next(ways, "")


def _events(folder: Path) -> Iterator[tuple[str, float]]:
    """What each of the host's threads did, and its milliseconds."""
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
    "moving, padding, choosing, casting": (
        *("Pad", "Slice", "Concat", "Transpose", "Reverse", "Gather", "Split", "Tile", "Pack"),
        *("Select", "Reshape", "DepthToSpace", "SpaceToDepth", "UnsortedSegmentSum", "Cast"),
    ),
}
"""Kind -> what is in the names of its types; the first that fits."""

ARITHMETIC = "arithmetic, number by number"


def kind_of(op: OpTime) -> str:
    """The kind's name, as tables have it."""
    if is_convolution(op.op):
        if not is_backward(op.name):
            return "convolutions, forward"
        filters = plain_convolution(op.op).endswith("BackpropFilter")
        return "convolutions, to filters" if filters else "convolutions, to inputs"
    fitting = (kind for kind, words in _WORDS.items() if any(word in op.op for word in words))
    return next(fitting, ARITHMETIC)

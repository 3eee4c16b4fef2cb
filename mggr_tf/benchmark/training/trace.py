"""What TensorFlow executes, op by op, from its profiler."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from mggr_tf.benchmark.training.convolutions import is_backward, is_convolution

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

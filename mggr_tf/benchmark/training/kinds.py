"""What kind of work an op does, by its type."""

from __future__ import annotations

from mggr_tf.benchmark.training.convolutions import is_convolution
from mggr_tf.benchmark.training.parts import is_backward
from mggr_tf.benchmark.training.trace import OpTime, plain_convolution

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

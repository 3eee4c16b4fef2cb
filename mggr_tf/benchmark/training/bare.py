"""One graph with some convolutions, and nothing else that takes time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mggr_tf.benchmark.training.convolutions import Convolution

_DEVIATION = 0.1


def bare_graph(convolutions: Sequence[Convolution]) -> Callable[[], tf.Tensor]:
    """A traced function that executes each of them once.

    Every one reads tensors of its own, which are variables: none is computed ahead, and no two
    are one. Of what each makes a single number goes into the sum that is returned, so that none
    is left out. They do not wait for each other, as they do in a step, and they are not fused
    with what follows them there (a bias, a ReLU); oneDNN's kernels are those of the step.

    Args:
        convolutions: of a step.

    Returns:
        function without arguments; [] float32.
    """
    rng = np.random.default_rng(0)
    calls = [_call(convolution, rng) for convolution in convolutions]

    @tf.function
    def bare() -> tf.Tensor:
        made = [tf.reshape(call(), [-1])[0] for call in calls]
        return tf.add_n([tf.cast(number, tf.float32) for number in made])

    return bare  # type: ignore[no-any-return]


def _call(convolution: Convolution, rng: np.random.Generator) -> Callable[[], tf.Tensor]:
    op = getattr(tf.raw_ops, convolution.op)
    names = _ARGUMENTS[convolution.op]
    tensors = {
        name: _variable(shape, convolution.dtype, rng)
        for name, shape in zip(names, convolution.inputs, strict=True)
    }
    sizes = dict.fromkeys(_SIZES.get(convolution.op, ()), convolution.output)
    return lambda: op(
        **{name: variable.read_value() for name, variable in tensors.items()},
        **sizes,
        **convolution.attributes,
    )


_ARGUMENTS = {
    "Conv2D": ("input", "filter"),
    "Conv2DBackpropInput": ("filter", "out_backprop"),
    "Conv2DBackpropFilter": ("input", "out_backprop"),
    "DepthwiseConv2dNative": ("input", "filter"),
    "DepthwiseConv2dNativeBackpropInput": ("filter", "out_backprop"),
    "DepthwiseConv2dNativeBackpropFilter": ("input", "out_backprop"),
}
"""What an op calls its tensors of numbers, in their order."""

_SIZES = {
    "Conv2DBackpropInput": ("input_sizes",),
    "Conv2DBackpropFilter": ("filter_sizes",),
    "DepthwiseConv2dNativeBackpropInput": ("input_sizes",),
    "DepthwiseConv2dNativeBackpropFilter": ("filter_sizes",),
}
"""What it calls the shape of what it makes, where it asks for it."""


def _variable(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> tf.Variable:
    values = rng.normal(0.0, _DEVIATION, shape).astype(np.float32)
    return tf.Variable(tf.cast(values, dtype), trainable=False)

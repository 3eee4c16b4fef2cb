"""What a network costs."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def multiply_accumulates(model: keras.Model) -> float:
    """Multiply-accumulates of one example, counted by TensorFlow's own profiler.

    Two floating-point operations count as one multiply-accumulate; activations
    and resampling are in the sum too.
    """
    names = [tensor.name.split(":")[0] for tensor in model.inputs]
    specs = [tf.TensorSpec((1, *t.shape[1:]), tf.float32) for t in model.inputs]

    @tf.function
    def run(*tensors: tf.Tensor) -> object:
        named = dict(zip(names, tensors, strict=True))
        return model(named if len(tensors) > 1 else tensors[0])

    frozen = convert_variables_to_constants_v2(run.get_concrete_function(*specs))
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    operations = profiler.profile(frozen.graph, options=options).total_float_ops
    return operations / 2

"""Measure the speed of a training stage.

Three speeds are measured: making batches, training steps, and only the convolutions of a step.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mggr_edge.common.progress import Progress
from mggr_edge.tools.bench.models import interleaved
from mggr_tf.benchmark.convolutions import (
    Convolution,
    Trace,
    convolutions_of,
    matrix_products_of,
    trace_of,
)
from mggr_tf.benchmark.speed_report import Took, TrainingSpeed
from mggr_tf.config import Config
from mggr_tf.config.stages import Stage
from mggr_tf.data.closing_eyes import closing_eyes
from mggr_tf.data.rows import Batch
from mggr_tf.data.source import Split
from mggr_tf.models.networks import Networks
from mggr_tf.models.precision import settled
from mggr_tf.training.stage_parts import (
    compiled,
    explained_corruption,
    stage_dataset,
    stage_shares,
    stage_step,
)
from mggr_tf.training.step import Step

_DEVIATION = 0.1


def convolutions_only_graph(convolutions: Sequence[Convolution]) -> Callable[[], tf.Tensor]:
    """Return a TensorFlow function that executes each convolution once.

    Every convolution reads its own variables. Therefore TensorFlow cannot compute a convolution in
    advance (constant folding), and it cannot merge two equal convolutions. One number of each
    output is added to the returned sum, so TensorFlow does not remove any convolution. There are
    two differences from a training step. The convolutions do not wait for each other. A convolution
    is not fused with the following op (a bias or a ReLU). The oneDNN kernels are the same as in the
    step.

    Args:
        convolutions: convolutions of a step.

    Returns:
        function without arguments. The function returns a float32 tensor of shape [].
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
"""Op type -> names of its input tensors in their order.

Input tensors that only specify a shape are omitted.
"""

_SIZES = {
    "Conv2DBackpropInput": ("input_sizes",),
    "Conv2DBackpropFilter": ("filter_sizes",),
    "DepthwiseConv2dNativeBackpropInput": ("input_sizes",),
    "DepthwiseConv2dNativeBackpropFilter": ("filter_sizes",),
}
"""Op type -> name of the input tensor that contains the shape of the output.

Ops without an input for this shape are omitted.
"""


def _variable(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> tf.Variable:
    values = rng.normal(0.0, _DEVIATION, shape).astype(np.float32)
    return tf.Variable(tf.cast(values, dtype), trainable=False)


_TURN_SECONDS = 1.0
_MOST_STEPS_A_TURN = 8
_READ_AHEAD = 2
"""Number of batches that `pair_dataset` makes in advance.

These batches are made before the measurement starts. Therefore they are discarded at its start.
"""
_TRACED_CALLS = 9
_WARM_UP = 3
_STEPS = 1 << 31
"""Number of steps of the data set. No measurement needs that many steps."""

Run = Any
"""A TensorFlow function of a batch. TensorFlow has no type that describes the methods of such a
function."""


def bench_training(
    config: Config,
    stage: Stage,
    split: Split,
    *,
    seconds: float,
    progress: Progress,
    vgg16: Path | None = None,
) -> TrainingSpeed:
    """Measure the speed of a training stage on one device of this machine.

    The stage runs in the same way as in `mggr-tf train`.

    All networks have their initial weights. Earlier stages are not trained, because trained weights
    would not change the cost of a step.

    Args:
        config: config of the stage. The setting `auto` of `features_precision` selects the faster
            dtype for this machine.
        stage: stage to measure.
        split: data. Pairs are chosen from its part `train`.
        seconds: total time of the measurement in seconds. At least twenty rounds are measured, even
            if this takes longer.
        progress: reports the progress of the measurement.
        vgg16: file with VGG-16 weights. The file is needed if the losses of the config compare
            VGG-16 features.

    Raises:
        ConfigError: the config has no stage with this name.
        MissingPackageError: the package with the weights of a feature network is not installed.
        RunError: the weights of a feature network are missing or damaged.
    """
    shares = stage_shares(config, stage)
    closing = None
    if config.asks_for_state(stage):
        closing = closing_eyes(config.synthetic, progress=progress).train
    dataset = stage_dataset(
        config, stage, split.train, shares=shares, steps=(0, _STEPS), closing=closing
    )
    batches = explained_corruption(iter(dataset), split.train)
    step = _fresh_step(config, stage, split, vgg16)
    run = _as_in_training(step, config)
    one = next(batches)
    with progress("tracing a step", None) as advance:
        # With XLA, the graph of the compiled step does not contain the single ops of the step.
        seen = tf.function(step) if config.compute.xla else run
        graph = seen.get_concrete_function(one).graph
        convolutions = convolutions_of(graph)
        bare = convolutions_only_graph(convolutions)
        step_trace = _traced(lambda: run(one).numpy(), advance)
        bare_trace = _traced(lambda: bare().numpy(), advance)
    _check_complete(bare_trace, convolutions)
    if not config.compute.xla:
        _check_complete(step_trace, convolutions)
    with progress(f"timing stage {stage}", None) as advance:
        took = _in_turns(run, bare, batches, one, seconds=seconds, advance=advance)
    return TrainingSpeed(
        config=config.name,
        stage=stage,
        data=split.source,
        features_precision=settled(config.models.features_precision),
        pairs=shares.batch,
        cores=os.cpu_count() or 1,
        took=took,
        convolutions=convolutions,
        matrix_products=matrix_products_of(graph),
        step=step_trace,
        bare=bare_trace,
    )


def _fresh_step(config: Config, stage: Stage, split: Split, vgg16: Path | None) -> Step:
    asks = config.asks_for_landmarks(stage)
    return stage_step(
        config,
        stage,
        Networks(config, vgg16=vgg16, precision=config.compute.precision),
        total=tf.Variable(config.stage(stage).steps, dtype=tf.int64, trainable=False),
        replicas=1,
        landmarks=split.train.known_landmarks().shape[1] if asks else 0,
    )


def _as_in_training(step: Step, config: Config) -> Run:
    """Return a function that runs a step as the training loop does on one device.

    The metrics are stacked to one tensor, because the loop reads all metrics at once after each
    step.
    """
    one = compiled(step, xla=config.compute.xla)

    @tf.function
    def run(batch: Batch) -> tf.Tensor:
        return tf.stack(list(one(batch).values()))

    return run


def _traced(call: Callable[[], object], advance: Callable[[int], None]) -> Trace:
    for _ in range(_WARM_UP):
        call()
        advance(1)
    return trace_of(call, calls=_TRACED_CALLS)


def _check_complete(trace: Trace, convolutions: tuple[Convolution, ...]) -> None:
    """Assert that the executed convolutions are the convolutions of the graph.

    Otherwise the measured ratios would compare different amounts of work.
    """
    wanted = Counter(convolution.op for convolution in convolutions)
    executed = trace.convolutions()
    assert executed == wanted, f"executed {executed}, in the graph {wanted}"


def _in_turns(
    run: Run,
    bare: Callable[[], tf.Tensor],
    batches: Iterator[Batch],
    one: Batch,
    *,
    seconds: float,
    advance: Callable[[int], None],
) -> Took:
    steps = _steps_a_turn(lambda: run(one).numpy())

    def drop_what_was_read_ahead() -> None:
        for _ in range(_READ_AHEAD):
            next(batches)

    def make_batches() -> None:
        drop_what_was_read_ahead()
        for _ in range(steps):
            next(batches)

    def step_on_one_batch() -> None:
        for _ in range(steps):
            run(one).numpy()

    def step_on_its_batches() -> None:
        drop_what_was_read_ahead()
        for _ in range(steps):
            run(next(batches)).numpy()

    def convolve() -> None:
        for _ in range(steps):
            bare().numpy()

    calls = (make_batches, step_on_one_batch, step_on_its_batches, convolve)
    took = interleaved(calls, seconds=seconds, advance=advance) / steps
    return Took(*took.T)


def _steps_a_turn(step: Callable[[], object]) -> int:
    started = time.perf_counter()
    step()
    each = time.perf_counter() - started
    return min(_MOST_STEPS_A_TURN, max(1, math.ceil(_TURN_SECONDS / each)))

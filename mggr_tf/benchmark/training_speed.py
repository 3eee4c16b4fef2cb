"""Times a stage of training: its batches, its steps, and the convolutions of its steps."""

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
from mggr_tf.models.blocks import settled
from mggr_tf.models.networks import Networks
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


_TURN_SECONDS = 1.0
_MOST_STEPS_A_TURN = 8
_READ_AHEAD = 2
"""Batches that `pair_dataset` has ready while nobody asks; a turn does not begin with them."""
_TRACED_CALLS = 9
_WARM_UP = 3
_STEPS = 1 << 31
"""More batches than anybody waits for."""

Run = Any
"""A traced function of a batch; TensorFlow has no type for what it can do."""


def bench_training(
    config: Config,
    stage: Stage,
    split: Split,
    *,
    seconds: float,
    progress: Progress,
    vgg16: Path | None = None,
) -> TrainingSpeed:
    """Times a stage as `train` would run it here, on one device, with fresh networks.

    Args:
        config: whose stage; its precisions are settled for this machine.
        stage: which. What would have been trained before it is not: that costs the same.
        split: pairs are drawn of its `train`.
        seconds: of turns; twenty rounds at least.
        progress: shows how far it is.
        vgg16: weights of VGG-16, where the config compares its features.

    Raises:
        ConfigError: the config lacks the stage.
        MissingPackageError, RunError: a feature network's weights are not there.
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
        # XLA leaves nothing of a step to be seen in the graph around it.
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
    """A step as the loop runs it on one device, which reads all metrics at once after each."""
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
    """What a graph says and what is executed must agree, or ratios would compare other things."""
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

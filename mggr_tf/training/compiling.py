"""What a stage's step can be computed by: XLA, and half as many bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tensorflow as tf

from mggr_tf.config import Config, Stage
from mggr_tf.training.batch import Batch, Metrics
from mggr_tf.training.step import Step


def compiled(step: Step, *, xla: bool) -> Callable[[Batch], Metrics]:
    """One replica's step as it is given to a strategy: itself, or compiled by XLA as a whole."""
    return tf.function(step, jit_compile=True) if xla else step


def refuse_what_cannot_work(
    config: Config, stages: Iterable[Stage], *, replicas: int, warn: Callable[[str], None]
) -> None:
    """Looks at the devices and at what will be trained on them, before anything is built.

    Args:
        config: of the run.
        stages: that will be trained.
        replicas: how many devices share a batch.
        warn: told of what works and is slower than float32.

    Raises:
        ConfigError: `compute` asks for what does not work here; the message says what would.
    """

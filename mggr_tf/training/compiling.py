"""What a stage's step can be computed by here: XLA, and half as many bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tensorflow as tf

from mggr_edge.errors import ConfigError
from mggr_tf.config import Config
from mggr_tf.config.stages import Stage
from mggr_tf.models.precision import EXACT, missing_for
from mggr_tf.training.batch import Batch, Metrics
from mggr_tf.training.step import Step


def compiled(step: Step, *, xla: bool) -> Callable[[Batch], Metrics]:
    """One replica's step as it is given to a strategy: itself, or compiled by XLA as a whole.

    A compiled step makes other fractions of the same random bits: dropout, random views and blends
    are other ones than those of a plain step, and the same ones at every run.
    """
    return tf.function(step, jit_compile=True) if xla else step


def refuse_what_cannot_work(
    config: Config, stages: Iterable[Stage], *, replicas: int, warn: Callable[[str], None]
) -> None:
    """Looks at the devices and at what will be trained on them, before anything is built.

    Args:
        config: of the run.
        stages: that will be trained.
        replicas: how many devices share a batch.
        warn: called with what works and is slower than float32, or than a plain step.

    Raises:
        ConfigError: `compute` asks for what does not work here; the message says what would.
    """
    asked = ", ".join(stages)
    _check_precision(config, asked, warn)
    if config.compute.xla:
        _check_xla(asked, replicas, warn)


def _check_precision(config: Config, asked: str, warn: Callable[[str], None]) -> None:
    precision = config.compute.precision
    missing = missing_for(precision)
    if missing is None:
        return
    if precision == "float16":
        instead = EXACT if missing_for("bfloat16") else "bfloat16"
        raise ConfigError(
            f"compute.precision: to train {asked} in float16 takes {missing}; set {instead}"
        )
    warn(f"compute.precision: {precision} is slower than float32 here: it takes {missing}")


def _check_xla(asked: str, replicas: int, warn: Callable[[str], None]) -> None:
    if replicas > 1:
        # Every device would have to reach the others' variables and sums from inside its program.
        raise ConfigError(
            f"compute.xla: a step of {asked} that {replicas} devices share cannot be compiled; "
            "set false, or train on one device"
        )
    if not tf.config.list_physical_devices("GPU"):
        warn("compute.xla: without a GPU a compiled step takes three to seven times as long")

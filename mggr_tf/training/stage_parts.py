"""Functions for training a stage: create its step and its batches, and check the devices.

A replica is one of the devices that share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow import keras

from mggr_edge.errors import ConfigError
from mggr_tf.config import Config
from mggr_tf.config.stages import NEEDS_DISCRIMINATOR, NEEDS_EXACT_FLOW, OF_GAZE, STAGES, Stage
from mggr_tf.data.packed.samples import PackedSamples
from mggr_tf.data.packed.stream import packed_pair_dataset
from mggr_tf.data.pairs import Closing, pair_dataset
from mggr_tf.data.rows import Batch, Metrics, Shares
from mggr_tf.data.schema import EyeSamples
from mggr_tf.models.networks import Networks
from mggr_tf.models.precision import EXACT, missing_for
from mggr_tf.training.estimator_step import EstimatorStep
from mggr_tf.training.step import RedirectionStep, Step

T = TypeVar("T")


def stage_step(
    config: Config,
    stage: Stage,
    networks: Networks,
    *,
    total: tf.Variable,
    replicas: int,
    landmarks: int = 0,
) -> Step:
    """Create the training step of a stage.

    Call this function in the scope of the distribution strategy, because it creates variables.

    Args:
        config: config of the run.
        stage: stage to train.
        networks: networks of the run.
        total: [] int64 variable with the total number of steps.
        replicas: number of devices that share a batch.
        landmarks: number of landmarks of an eye if a loss uses landmarks, otherwise 0.
    """
    common: dict[str, Any] = {"total": total, "replicas": replicas}
    if stage == "estimator" or stage == "judge" or stage == "adapted":
        return EstimatorStep(
            getattr(networks, stage),
            config.stage(stage),
            gaze_scale_deg=config.conventions.gaze_scale_deg,
            landmarks=landmarks,
            learner=networks.learner(stage),
            precision=networks.precision,
            **common,
        )
    return RedirectionStep(
        networks,
        stage,
        config.stage(stage),
        moving_average=config.moving_average,
        **common,
    )


def stage_shares(
    config: Config, stage: Stage, *, replicas: int = 1, first: int = 0, local: int = 1
) -> Shares:
    """Return how the batches of a stage are divided between the devices; see `Shares`.

    Args:
        config: config of the run.
        stage: stage to train.
        replicas: number of devices that share a batch.
        first: number of the first replica of this process.
        local: number of replicas of this process.

    Raises:
        ConfigError: the batch cannot be divided equally between the devices.
    """
    settings = config.stage(stage)
    parts = settings.critic_steps
    return Shares(settings.batch * parts, replicas, first, local, parts)


def portrait_shares(
    config: Config, stage: Stage, *, replicas: int = 1, first: int = 0, local: int = 1
) -> Shares:
    """Return how the photographs of a stage are divided between the devices.

    The arguments are the same as for `stage_shares`. The stage must train on photographs.

    Raises:
        ConfigError: the photographs cannot be divided equally between the devices.
    """
    settings = config.stage(stage)
    assert settings.portraits is not None
    parts = settings.critic_steps
    try:
        return Shares(settings.portraits.pairs * parts, replicas, first, local, parts)
    except ConfigError as error:
        raise ConfigError(
            f"portraits.pairs: {error}",
            code=error.code,
            **{**error.fields, "at": "portraits.pairs"},
        ) from error


def check_shares(config: Config, stages: Iterable[Stage], *, replicas: int) -> None:
    """Check that the batches of all stages can be divided between the devices.

    Raises:
        ConfigError: a batch cannot be divided equally. The message contains the stage.
    """
    for stage in stages:
        try:
            stage_shares(config, stage, replicas=replicas)
            if config.stage(stage).portraits is not None:
                portrait_shares(config, stage, replicas=replicas)
        except ConfigError as error:
            raise ConfigError(
                f"stages.{stage}: {error}", code=error.code, **{**error.fields, "stage": stage}
            ) from error


def stage_dataset(
    config: Config,
    stage: Stage,
    samples: EyeSamples | PackedSamples,
    *,
    shares: Shares,
    steps: tuple[int, int],
    closing: EyeSamples | None = None,
) -> tf.data.Dataset:
    """Return the batches of a stage for a range of steps.

    A batch depends only on the seed of the config and on the step.

    Args:
        config: config of the run.
        stage: stage to train.
        samples: training samples.
        shares: how the batches are divided between the devices.
        steps: range [first, last) of the steps.
        closing: synthetic eyes at all stages from open to closed, for a stage that learns the eye
            state.
    """
    settings = config.stage(stage)
    make: Any = packed_pair_dataset if isinstance(samples, PackedSamples) else pair_dataset
    dataset: tf.data.Dataset = make(
        samples,
        shares=shares,
        seed=_stage_seed(config.seed, stage),
        steps=steps,
        augmentation=settings.augmentation,
        with_flow=any(loss.name in NEEDS_EXACT_FLOW for loss in settings.active),
        with_landmarks=config.asks_for_landmarks(stage),
        closing=None if closing is None else Closing(closing, config.synthetic.closing_share),
        conventions=config.conventions,
    )
    return dataset


def explained_corruption(batches: Iterator[T], samples: EyeSamples | PackedSamples) -> Iterator[T]:
    """Yield the batches. If too many records are corrupt, raise a `DataError`.

    A `tf.data.Dataset` can raise only TensorFlow errors. If it raises such an error, and `samples`
    has stored a `DataError`, this function raises the stored error.

    Raises:
        DataError: too many records are corrupt; see `CorruptRecords` in `data.packed.index`.
    """
    try:
        yield from batches
    except tf.errors.OpError as error:
        failure = samples.corrupt.failure if isinstance(samples, PackedSamples) else None
        if failure is None:
            raise
        raise failure from error


def _stage_seed(seed: int, stage: Stage) -> int:
    """Return the seed of a stage. The stages of a run have different seeds."""
    return seed * 101 + STAGES.index(stage)


def trained_networks(networks: Networks, stage: Stage) -> dict[str, keras.Model]:
    """Return the networks that a stage trains, including the discriminator.

    The networks with averaged weights are not included.
    """
    config = networks.config
    if stage in OF_GAZE:
        return {stage: getattr(networks, stage)}
    parts = config.models.parts if stage == "joint" else (stage,)
    found: dict[str, keras.Model] = {name: networks.redirection.part(name) for name in parts}
    if any(loss.name in NEEDS_DISCRIMINATOR for loss in config.stage(stage).active):
        found["discriminator"] = networks.discriminator
    return found


def learning_rates(step: Step) -> dict[str, float]:
    """Return the learning rate that each optimizer of a step used in its last update.

    Returns:
        Dict of learning rates. The keys are the names in the config: `learning_rate`, and if there
        is a discriminator, `discriminator_learning_rate`.
    """
    return {
        name.replace("optimizer", "learning_rate"): float(optimizer.learning_rate.numpy())
        for name, optimizer in step.state().items()
        if isinstance(optimizer, keras.optimizers.Optimizer)
    }


def compiled(step: Step, *, xla: bool) -> Callable[[Batch], Metrics]:
    """Return the step as a function for one replica. If `xla` is true, XLA compiles the whole step.

    XLA converts the same random bits to other floats than TensorFlow. Therefore a compiled step has
    other random numbers than a step without XLA. The difference affects dropout, random views and
    blends. But all runs with XLA have the same random numbers.
    """
    return tf.function(step, jit_compile=True) if xla else step


def check_devices(
    config: Config, stages: Iterable[Stage], *, replicas: int, warn: Callable[[str], None]
) -> None:
    """Check that the devices support the `compute` settings of the config.

    Call this function before the networks are created.

    Args:
        config: config of the run.
        stages: stages to train.
        replicas: number of devices that share a batch.
        warn: called with a message for a setting that works, but makes training slower.

    Raises:
        ConfigError: a setting in `compute` does not work on these devices. The message contains an
            alternative.
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
            f"compute.precision: training {asked} in float16 needs {missing}; set {instead}",
            code="float16-not-supported",
            stages=asked,
            needed=missing,
            instead=instead,
        )
    warn(f"compute.precision: {precision} needs {missing}; it is slower than float32 here")


def _check_xla(asked: str, replicas: int, warn: Callable[[str], None]) -> None:
    if replicas > 1:
        # A step with several devices needs the variables and the sums of all devices. A program
        # that XLA has compiled for one device cannot access these values on other devices.
        raise ConfigError(
            f"compute.xla: XLA cannot compile a step of {asked} for {replicas} devices; set "
            "compute.xla to false, or train on one device",
            code="xla-on-several-devices",
            stages=asked,
            devices=replicas,
        )
    if not tf.config.list_physical_devices("GPU"):
        warn("compute.xla: without a GPU, a step takes three to seven times as long with XLA")

"""One training step: pure TensorFlow, no I/O, no clock.

A step is called inside a distribution strategy with one replica's batch. It
divides its losses by the number of replicas, so that summed gradients are those
of the global batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config import Stage, StageConfig
from mggr_tf.losses import (
    LOSSES,
    NEEDS_DISCRIMINATOR,
    NEEDS_FEATURES,
    LossContext,
    discriminator_loss,
)
from mggr_tf.models.networks import Networks
from mggr_tf.models.warp import BackwardWarp
from mggr_tf.training.schedule import WarmUpCosine

Batch = Mapping[str, tf.Tensor]
Metrics = dict[str, tf.Tensor]

_CLIP_NORM = 5.0


class Step(Protocol):
    """What the loop needs of a step."""

    def __call__(self, batch: Batch, /) -> Metrics:
        """Trains on one replica's batch; metrics are this replica's part of the mean."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint must hold, by name."""
        ...


class EstimatorStep:
    """Regresses gaze from both pictures of each pair (Huber loss, network units).

    Args:
        model: estimator or judge.
        config: the stage's.
        gaze_scale_deg: (pitch, yaw) that 1 at the output stands for.
        total: variable that holds the number of steps.
        replicas: how many devices share a batch.
    """

    def __init__(
        self,
        model: keras.Model,
        config: StageConfig,
        *,
        gaze_scale_deg: tuple[float, float],
        total: tf.Variable,
        replicas: int,
    ) -> None:
        self._model = model
        self._scale = tf.constant(gaze_scale_deg)
        self._replicas = replicas
        self._optimizer = _adam(config.learning_rate, total, model.trainable_variables)

    def __call__(self, batch: Batch, /) -> Metrics:
        """See `Step`."""
        eyes = tf.concat([batch["eye"], batch["target"]], 0)
        heads = tf.concat([batch["head_pose"]] * 2, 0)
        gaze = tf.concat([batch["source_gaze"], batch["target_gaze"]], 0) / self._scale
        with tf.GradientTape() as tape:
            seen = self._model({"eye": eyes, "head_pose": heads}, training=True)
            loss = tf.reduce_mean(keras.losses.huber(gaze, seen, delta=0.5)) / self._replicas
        _apply(self._optimizer, tape, loss, self._model.trainable_variables)
        off = tf.reduce_mean(tf.abs(seen - gaze) * self._scale, 0) / self._replicas
        return {"loss": loss, "pitch_error_deg": off[0], "yaw_error_deg": off[1]}

    def state(self) -> dict[str, Any]:
        """See `Step`."""
        return {"model": self._model, "optimizer": self._optimizer}


class RedirectionStep:
    """Trains the coarse branch, the fine branch, or both against the discriminator.

    Args:
        networks: all networks; the estimator must be trained, and stays as it is.
        stage: "coarse", "fine" (coarse frozen) or "joint".
        config: the stage's.
        moving_average: decay of the averaged branches.
        total: variable that holds the number of steps.
        replicas: how many devices share a batch.
    """

    def __init__(
        self,
        networks: Networks,
        stage: Stage,
        config: StageConfig,
        *,
        moving_average: float,
        total: tf.Variable,
        replicas: int,
    ) -> None:
        self._networks = networks
        self._losses = config.losses
        self._replicas = replicas
        self._decay = moving_average
        self._gaze_scale = tf.constant(networks.config.conventions.gaze_scale_deg)
        self._warp = BackwardWarp()
        self._with_fine = stage != "coarse"
        self._trained = _trained_variables(networks, stage)
        self._optimizer = _adam(config.learning_rate, total, self._trained)
        names = {loss.name for loss in config.losses}
        self._with_features = bool(names & NEEDS_FEATURES)
        self._adversary = bool(names & NEEDS_DISCRIMINATOR)
        if self._adversary:
            self._discriminator_optimizer = _adam(
                config.discriminator_learning_rate,
                total,
                networks.discriminator.trainable_variables,
                beta_1=0.5,
            )

    def __call__(self, batch: Batch, /) -> Metrics:
        """See `Step`."""
        with tf.GradientTape() as tape:
            pictures = self._redirect(batch)
            terms = self._terms(pictures, batch)
            loss = tf.add_n([config.weight * terms[_label(config)] for config in self._losses])
        _apply(self._optimizer, tape, loss, self._trained)
        metrics = {"loss": loss, **terms}
        if self._adversary:
            metrics["discriminator"] = self._train_discriminator(pictures["redirected"], batch)
        self._average()
        return metrics

    def state(self) -> dict[str, Any]:
        """See `Step`."""
        networks = self._networks
        state = {
            "coarse": networks.redirection.coarse,
            "fine": networks.redirection.fine,
            "averaged_coarse": networks.averaged.coarse,
            "averaged_fine": networks.averaged.fine,
            "optimizer": self._optimizer,
        }
        if self._adversary:
            state["discriminator"] = networks.discriminator
            state["discriminator_optimizer"] = self._discriminator_optimizer
        return state

    def _redirect(self, batch: Batch) -> dict[str, tf.Tensor]:
        inputs = {name: batch[name] for name in ("eye", "gazemap", "delta", "head_pose")}
        branches = self._networks.redirection
        if self._with_fine:
            return dict(branches.joined(inputs, training=True))
        flow = branches.coarse(inputs, training=True)
        return {"flow": flow, "coarse": self._warp([batch["eye"], flow])}

    def _terms(self, pictures: Batch, batch: Batch) -> Metrics:
        """Every loss of the config, averaged over the batch, by its label."""
        contexts = {
            name: self._context(pictures[name], pictures["flow"], batch)
            for name in sorted({loss.picture for loss in self._losses} & pictures.keys())
        }
        anywhere = next(iter(contexts.values()))
        return {
            _label(loss): tf.reduce_mean(LOSSES[loss.name](contexts.get(loss.picture, anywhere)))
            / self._replicas
            for loss in self._losses
        }

    def _context(self, picture: tf.Tensor, flow: tf.Tensor, batch: Batch) -> LossContext:
        features, target_features, verdict = {}, {}, {}
        if self._with_features:
            look = self._networks.features
            head = {"head_pose": batch["head_pose"]}
            features = look({"eye": picture, **head}, training=False)
            target_features = look({"eye": batch["target"], **head}, training=False)
        if self._adversary:
            verdict = self._networks.discriminator(picture, training=True)
        return LossContext(
            picture=picture,
            target=batch["target"],
            flow=flow,
            target_gaze=batch["target_gaze"] / self._gaze_scale,
            features=features,
            target_features=target_features,
            verdict=verdict,
        )

    def _train_discriminator(self, redirected: tf.Tensor, batch: Batch) -> tf.Tensor:
        discriminator = self._networks.discriminator
        gaze = batch["target_gaze"] / self._gaze_scale
        both = tf.concat([batch["target"], tf.stop_gradient(redirected)], 0)
        with tf.GradientTape() as tape:
            seen = discriminator(both, training=True)
            halves = {name: tf.split(value, 2) for name, value in seen.items()}
            real, fake = ({name: half[i] for name, half in halves.items()} for i in (0, 1))
            losses = discriminator_loss(real, fake, real_gaze=gaze)
            loss = tf.reduce_mean(losses) / self._replicas
        _apply(self._discriminator_optimizer, tape, loss, discriminator.trainable_variables)
        return loss

    def _average(self) -> None:
        """Moves the averaged branches a little towards the trained ones."""
        trained, averaged = self._networks.redirection, self._networks.averaged
        # Early on the average follows closely, so that it never shows the first weights.
        seen = tf.cast(self._optimizer.iterations, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + seen) / (10.0 + seen))
        for branch in ("coarse", "fine"):
            for slow, fast in zip(
                getattr(averaged, branch).variables,
                getattr(trained, branch).variables,
                strict=True,
            ):
                slow.assign_sub((1.0 - decay) * (slow - fast))


def _trained_variables(networks: Networks, stage: Stage) -> list[tf.Variable]:
    branches = networks.redirection
    coarse, fine = branches.coarse.trainable_variables, branches.fine.trainable_variables
    return {"coarse": coarse, "fine": fine, "joint": coarse + fine}[stage]


def _label(loss: Any) -> str:
    return loss.name if loss.picture == "redirected" else f"{loss.name}_{loss.picture}"


def _adam(
    peak: float, total: tf.Variable, variables: Iterable[tf.Variable], *, beta_1: float = 0.9
) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(
        WarmUpCosine(peak, total), beta_1=beta_1, global_clipnorm=_CLIP_NORM
    )
    optimizer.build(list(variables))
    return optimizer


def _apply(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    variables: list[tf.Variable],
) -> None:
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

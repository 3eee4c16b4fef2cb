"""One training step of a redirector. It consists only of TensorFlow operations.

Several devices, called replicas, can share a batch. TensorFlow's distribution strategy calls the
step on each replica with a part of the batch. The step divides the losses by the number of
replicas. Therefore the sum of the gradients of all replicas is the gradient for the whole batch.

A redirector can have two branches. The coarse branch predicts a flow, and the fine branch adds
details to the image. In network units, a gaze is divided by the scale in the config.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import tensorflow as tf

from mggr_tf.config.stages import (
    NEEDS_CYCLE,
    NEEDS_DISCRIMINATOR,
    NEEDS_EFFICIENTNET,
    NEEDS_FEATURES,
    NEEDS_GAZE,
    ON_NO_PICTURE,
    CycledPortraits,
    LossConfig,
    Stage,
    StageConfig,
)
from mggr_tf.data.augment import Gazemap
from mggr_tf.data.rows import Batch, Metrics, parts_of
from mggr_tf.models.networks import Networks
from mggr_tf.models.warp import BackwardWarp
from mggr_tf.training.critic import Critic
from mggr_tf.training.losses import LOSSES, LossContext
from mggr_tf.training.losses.adversary import random_view
from mggr_tf.training.losses.redirection import Comparison
from mggr_tf.training.optimizer import adam, apply, optimizer_state, scale_metrics
from mggr_tf.training.portrait_batches import PortraitLosses, portraits_in


class Step(Protocol):
    """Interface between the training step and the loop."""

    def __call__(self, batch: Batch, /) -> Metrics:
        """Train on one replica's part of a batch.

        Returns:
            Metrics of this replica, divided by the number of replicas. The sum over all replicas is
            the mean over the whole batch.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return all objects that a checkpoint must contain. The keys are their names."""
        ...


class RedirectionStep:
    """Training step of the redirector: the coarse branch, the fine branch, or both.

    Args:
        networks: all networks. The step does not change the estimator. If a loss uses the
            estimator, it must already be trained.
        stage: `coarse`, `fine` or `joint`. In the stage `fine`, the coarse branch does not change.
        config: config of the stage. `critic_steps` is the number of discriminator updates in a
            step. A batch has the same number of parts. Each part updates the discriminator. Only
            the last part also updates the redirector. If a batch has no photographs, the step
            ignores `config.portraits`; see `portrait_batches`.
        moving_average: decay of the moving average of the weights.
        total: [] int64 variable with the total number of steps.
        replicas: number of devices that share a batch.
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
        self._losses = config.active
        self._replicas = replicas
        self._decay = moving_average
        conventions = networks.config.conventions
        self._gaze_scale = tf.constant(conventions.gaze_scale_deg)
        self._gazemap = Gazemap(
            size_px=conventions.patch_size,
            k=conventions.gazemap_k,
            edge_px=conventions.gazemap_edge_px,
        )
        self._warp = BackwardWarp(networks.config.models.interpolation)
        self._seed = networks.config.seed
        self._coarse_only = stage == "coarse"
        self._trained = _trained_variables(networks, stage)
        self._optimizer = adam(
            config.learning_rate, total, self._trained, precision=networks.precision
        )
        names = {loss.name for loss in config.active}
        self._estimator = networks.estimator if names & NEEDS_GAZE else None
        self._random_views = networks.config.models.random_views
        # Create these networks here. If TensorFlow set their weights while it traces the step, the
        # weights would be lost.
        self._features = Comparison(networks.features) if names & NEEDS_FEATURES else None
        self._efficientnet = (
            Comparison(networks.efficientnet) if names & NEEDS_EFFICIENTNET else None
        )
        self._with_cycle = bool(names & NEEDS_CYCLE)
        self._critic = (
            Critic(networks, config, total=total, replicas=replicas)
            if names & NEEDS_DISCRIMINATOR
            else None
        )
        self._portraits = None
        if isinstance(config.portraits, CycledPortraits):
            self._portraits = PortraitLosses(
                config.portraits,
                config.active,
                redirect=self._redirect,
                back=self._back,
                gazemap=self._gazemap,
                estimate=self._estimate,
                conventions=conventions,
                features=self._features,
                shown=self._shown,
                discriminator=networks.discriminator if self._critic else None,
            )
            self._critic_sees_portraits = config.portraits.adversarial > 0

    def __call__(self, batch: Batch, /) -> Metrics:
        """Train on one replica's part of a batch; see `Step`."""
        metrics: Metrics = {}
        parts = parts_of(batch, self._critic.steps if self._critic else 1)
        for part in parts[:-1]:
            assert self._critic is not None
            self._train_critic(part, self._redirect(part)["redirected"])
        last = parts[-1]
        photographs, redirected_portraits = portraits_in(last), None
        with tf.GradientTape() as tape:
            pictures = self._redirect(last)
            terms = self._terms(pictures, last)
            loss = tf.add_n([config.weight * terms[_label(config)] for config in self._losses])
            if photographs and self._portraits is not None:
                redirected_portraits, more, of_portraits = self._portraits(photographs)
                loss += more / self._replicas
                terms |= {name: value / self._replicas for name, value in of_portraits.items()}
        apply(self._optimizer, tape, loss, self._trained)
        metrics |= {"loss": loss, **terms}
        metrics |= scale_metrics(self._optimizer, replicas=self._replicas)
        if not self._coarse_only and "l1" not in metrics:
            # Add the L1 error to the metrics, even if it is not a loss of the config. Therefore all
            # methods have this metric in their logs.
            off = tf.reduce_mean(tf.abs(pictures["redirected"] - last["target"]))
            metrics["l1"] = off / self._replicas
        if self._critic is not None:
            metrics["discriminator"] = self._train_critic(
                last, pictures["redirected"], redirected_portraits
            )
        self._average()
        return metrics

    def _train_critic(
        self, batch: Batch, redirected: tf.Tensor, portraits: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Update the discriminator once, and return its loss; see `Critic.train`.

        Args:
            batch: one part of the batch.
            redirected: redirected eyes of this part.
            portraits: redirected photographs of this part. With `None`, this method redirects the
                photographs.
        """
        assert self._critic is not None
        photographs = portraits_in(batch)
        if not photographs or self._portraits is None or not self._critic_sees_portraits:
            return self._critic.train([redirected], [batch])
        if portraits is None:
            portraits = self._redirect(photographs)["redirected"]
        real = {"target": photographs["eye"], "target_gaze": photographs["source_gaze"]}
        return self._critic.train([redirected, portraits], [batch, real])

    def state(self) -> dict[str, Any]:
        """Return the objects that a checkpoint must contain; see `Step`."""
        networks = self._networks
        state: dict[str, Any] = optimizer_state("optimizer", self._optimizer)
        for name in networks.config.models.parts:
            state[name] = networks.redirection.part(name)
            state[f"averaged_{name}"] = networks.averaged.part(name)
        if self._critic is not None:
            state |= self._critic.state()
        return state

    def _redirect(self, batch: Batch) -> dict[str, tf.Tensor]:
        inputs = {name: batch[name] for name in ("eye", "gazemap", "delta", "head_pose")}
        redirection = self._networks.redirection
        if not self._coarse_only:
            return dict(redirection.joined(inputs, training=True))
        flow = redirection.part("coarse")(inputs, training=True)
        return {"flow": flow, "coarse": self._warp([batch["eye"], flow])}

    def _back(self, redirected: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Redirect the redirected images back to the gaze of the source."""
        there = {
            "eye": redirected,
            "gazemap": self._gazemap(batch["source_gaze"]),
            "delta": -batch["delta"],
            "head_pose": batch["head_pose"],
        }
        return self._networks.redirection.joined(there, training=True)["redirected"]

    def _terms(self, pictures: Batch, batch: Batch) -> Metrics:
        """Return a dict of all losses in the config, each divided by the number of replicas."""
        looked_at = {loss.picture for loss in self._losses if loss.name not in ON_NO_PICTURE}
        # The losses in `ON_NO_PICTURE` do not use `picture`. Therefore any image can be used here.
        without = LossContext(
            source=batch["eye"],
            picture=pictures["coarse"],
            target=batch["target"],
            flow=pictures["flow"],
            target_gaze=batch["target_gaze"] / self._gaze_scale,
            cycled=self._back(pictures["redirected"], batch) if self._with_cycle else None,
            exact_flow=batch.get("flow"),
            flow_seen=batch.get("flow_seen"),
        )
        contexts = {
            name: self._context(without, pictures[name], batch) for name in sorted(looked_at)
        }
        return {
            _label(loss): tf.reduce_mean(
                LOSSES[loss.name](without if loss.name in ON_NO_PICTURE else contexts[loss.picture])
            )
            / self._replicas
            for loss in self._losses
        }

    def _context(self, without: LossContext, picture: tf.Tensor, batch: Batch) -> LossContext:
        """Return the inputs of the losses on one image. They include network outputs for the image.

        Args:
            without: context with the inputs that do not depend on the image.
            picture: [B, H, W, 3] image.
            batch: batch that belongs to the image.
        """
        head = {"head_pose": batch["head_pose"]}
        features: dict[str, tf.Tensor] = {}
        target_features: dict[str, tf.Tensor] = {}
        efficientnet: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]] = ({}, {})
        verdict, seen_gaze = {}, None
        # Both feature networks get the same view. Therefore the gradient of the view is computed
        # only once.
        shown = self._shown(picture), self._shown(batch["target"])
        if self._features is not None:
            features, target_features = self._features(*shown, head)
        if self._efficientnet is not None:
            efficientnet = self._efficientnet(*shown, head)
        if self._estimator is not None:
            seen_gaze = self._estimate({"eye": picture, **head})
        if self._critic is not None:
            verdict = self._networks.discriminator(picture, training=True)
        return replace(
            without,
            picture=picture,
            features=features,
            target_features=target_features,
            efficientnet=efficientnet,
            verdict=verdict,
            seen_gaze=seen_gaze,
        )

    def _estimate(self, inputs: Batch) -> tf.Tensor:
        """Return the gazes [B, 2] that the frozen estimator predicts, network units."""
        assert self._estimator is not None
        return self._estimator(dict(inputs), training=False)["gaze"]

    def _shown(self, pictures: tf.Tensor) -> tf.Tensor:
        """Return the images for the feature networks. The config can enable random views."""
        if not self._random_views:
            return pictures
        seed = tf.stack([tf.constant(self._seed, tf.int64), self._optimizer.iterations])
        with tf.name_scope("random_view"):
            return random_view(pictures, seed)

    def _average(self) -> None:
        """Update the moving average of the trained weights."""
        # The decay is small at the start, so that the initial weights soon have little influence on
        # the average.
        seen = tf.cast(self._optimizer.iterations, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + seen) / (10.0 + seen))
        with tf.name_scope("moving_average"):
            tf.distribute.get_replica_context().merge_call(self._move_averages, args=(decay,))

    def _move_averages(self, strategy: tf.distribute.Strategy, decay: tf.Tensor) -> None:
        """Update the averages on each device. Each device has its own copy of the averages."""
        trained, averaged = self._networks.redirection.joined, self._networks.averaged.joined

        def move(slow: tf.Variable, fast: tf.Variable, decay: tf.Tensor) -> None:
            slow.assign_sub((1.0 - decay) * (slow - fast))

        for slow, fast in zip(averaged.variables, trained.variables, strict=True):
            strategy.extended.update(slow, move, args=(fast, decay))


def _trained_variables(networks: Networks, stage: Stage) -> list[tf.Variable]:
    redirection = networks.redirection
    model = redirection.joined if stage == "joint" else redirection.part(stage)
    variables: list[tf.Variable] = model.trainable_variables
    return variables


def _label(loss: LossConfig) -> str:
    return loss.name if loss.picture == "redirected" else f"{loss.name}_{loss.picture}"

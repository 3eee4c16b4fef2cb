"""One training step of a redirector. It consists only of TensorFlow operations.

Several devices, called replicas, can share a batch. TensorFlow's distribution strategy calls the
step on each replica with a part of the batch. The step divides the losses by the number of
replicas. Therefore the sum of the gradients of all replicas is the gradient for the whole batch.

A redirector can have two branches. The coarse branch predicts a flow, and the fine branch adds
details to the image. A gaze in network units is the gaze in degrees, divided by a scale from the
config.
"""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from mggr_tf.config.stages import NEEDS_DISCRIMINATOR, CycledPortraits, Stage, StageConfig
from mggr_tf.data.augment import Gazemap
from mggr_tf.data.rows import Batch, Metrics, parts_of
from mggr_tf.models.networks import Networks
from mggr_tf.models.warp import BackwardWarp
from mggr_tf.training.critic import Critic
from mggr_tf.training.losses.redirection import Objective
from mggr_tf.training.optimizer import adam, apply, move_average, optimizer_state, scale_metrics
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
            estimator, the estimator must already be trained.
        stage: `coarse`, `fine` or `joint`. In the stage `fine`, the coarse branch does not change.
        config: config of the stage. `critic_steps` is the number of discriminator updates in a
            step. A batch consists of `critic_steps` parts. Each part is used for one discriminator
            update. The last part is also used to update the redirector. If a batch has no
            photographs, the step ignores `config.portraits`; see `portrait_batches`.
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
        self._replicas = replicas
        self._decay = moving_average
        conventions = networks.config.conventions
        self._gazemap = Gazemap(
            size_px=conventions.patch_size,
            k=conventions.gazemap_k,
            edge_px=conventions.gazemap_edge_px,
        )
        self._warp = BackwardWarp(networks.config.models.interpolation)
        self._coarse_only = stage == "coarse"
        self._trained = _trained_variables(networks, stage)
        self._optimizer = adam(
            config.learning_rate, total, self._trained, precision=networks.precision
        )
        self._objective = Objective(networks, config, updates=self._optimizer.iterations)
        self._critic = (
            Critic(networks, config, total=total, replicas=replicas)
            if any(loss.name in NEEDS_DISCRIMINATOR for loss in config.active)
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
                estimate=self._objective.estimate,
                conventions=conventions,
                features=self._objective.features,
                shown=self._objective.shown,
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
            has_cycle = self._objective.has_cycle
            cycled = self._back(pictures["redirected"], last) if has_cycle else None
            terms = {
                name: value / self._replicas
                for name, value in self._objective.terms(pictures, last, cycled=cycled).items()
            }
            loss = self._objective.total(terms)
            if photographs and self._portraits is not None:
                redirected_portraits, more, of_portraits = self._portraits(photographs)
                loss += more / self._replicas
                terms |= {name: value / self._replicas for name, value in of_portraits.items()}
        apply(self._optimizer, tape, loss, self._trained)
        metrics |= {"loss": loss, **terms}
        metrics |= scale_metrics(self._optimizer, replicas=self._replicas)
        if not self._coarse_only and "l1" not in metrics:
            # Add the L1 error even if it is not a loss of the config, so that the logs of all
            # methods contain this metric.
            off = tf.reduce_mean(tf.abs(pictures["redirected"] - last["target"]))
            metrics["l1"] = off / self._replicas
        if self._critic is not None:
            metrics["discriminator"] = self._train_critic(
                last, pictures["redirected"], redirected_portraits
            )
        networks = self._networks
        move_average(
            networks.averaged.joined,
            networks.redirection.joined,
            decay=self._decay,
            updates=self._optimizer.iterations,
        )
        return metrics

    def _train_critic(
        self, batch: Batch, redirected: tf.Tensor, portraits: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Update the discriminator once, and return its loss; see `Critic.train`.

        Args:
            batch: one part of the batch.
            redirected: redirected eyes of this part.
            portraits: redirected photographs of this part. If `None`, this method redirects the
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


def _trained_variables(networks: Networks, stage: Stage) -> list[tf.Variable]:
    redirection = networks.redirection
    model = redirection.joined if stage == "joint" else redirection.part(stage)
    variables: list[tf.Variable] = model.trainable_variables
    return variables

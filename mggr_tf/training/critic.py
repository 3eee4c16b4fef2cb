"""Train the discriminator in a training step.

Each device that trains is called a replica. All replicas together process one batch per step. A
patch is a small image of one eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mggr_tf.config.stages import StageConfig
from mggr_tf.data.rows import Batch
from mggr_tf.models.networks import Networks
from mggr_tf.training.losses import discriminator_loss, gradient_penalty
from mggr_tf.training.optimizer import adam, apply, optimizer_state


class Critic:
    """Trainer of the discriminator on real and redirected images.

    Args:
        networks: networks of the run, including the discriminator.
        config: config of the stage that uses the discriminator.
        total: [] int64 variable with the total number of steps.
        replicas: number of devices that share a batch.

    Attributes:
        steps: number of discriminator updates for each generator update.
    """

    def __init__(
        self, networks: Networks, config: StageConfig, *, total: tf.Variable, replicas: int
    ) -> None:
        self.steps = config.adversary.critic_steps
        self._model = networks.discriminator
        self._how = config.adversary
        self._replicas = replicas
        self._gaze_scale = tf.constant(networks.config.conventions.gaze_scale_deg)
        self._with_gaze = any(loss.name == "discriminator_gaze" for loss in config.active)
        self._seed = networks.config.seed
        self._optimizer = adam(
            config.discriminator_learning_rate,
            total,
            self._model.trainable_variables,
            beta_1=0.5,
            updates_a_step=self.steps,
            precision=networks.precision,
        )

    def state(self) -> dict[str, Any]:
        """Return the objects that a checkpoint must contain. The keys are their names."""
        state = optimizer_state("discriminator_optimizer", self._optimizer)
        return {"discriminator": self._model, **state}

    def train(self, redirected: Sequence[tf.Tensor], batches: Sequence[Batch]) -> tf.Tensor:
        """Update the discriminator once.

        There may be two sources of data: pairs of patches, and photographs.

        Args:
            redirected: for each source of data, the redirected images [B, H, W, 3].
            batches: for each source of data, a batch with real images. A batch contains `target`
                [B, H, W, 3] and `target_gaze` [B, 2] in degrees.

        Returns:
            The loss of this replica, divided by the number of replicas, [].
        """
        real = tf.concat([batch["target"] for batch in batches], 0)
        real_gaze = tf.concat([batch["target_gaze"] for batch in batches], 0)
        fake = tf.stop_gradient(tf.concat(redirected, 0))
        counts = [pictures.shape[0] for pictures in redirected]
        with tf.GradientTape() as tape:
            seen = self._model(tf.concat([real, fake], 0), training=True)
            halves = {name: tf.split(value, 2) for name, value in seen.items()}
            on_real, on_fake = ({name: half[i] for name, half in halves.items()} for i in (0, 1))
            loss = discriminator_loss(
                on_real,
                on_fake,
                real_gaze=real_gaze / self._gaze_scale,
                how=self._how,
                with_gaze=self._with_gaze,
            )
            if self._how.penalty != "none":
                loss += self._how.penalty_weight * self._penalty(real, fake, counts)
            loss = tf.reduce_mean(loss) / self._replicas
        # Without the gaze loss, the layers that predict the gaze have gradients of 0. Therefore
        # these layers do not change.
        apply(self._optimizer, tape, loss, self._model.trainable_variables)
        return loss

    def _penalty(self, real: tf.Tensor, fake: tf.Tensor, counts: Sequence[int]) -> tf.Tensor:
        mix = tf.concat([self._mix(rows, source) for source, rows in enumerate(counts)], 0)
        return gradient_penalty(
            lambda pictures: self._model(pictures, training=True)["realness"],
            real,
            fake,
            how=self._how,
            mix=mix,
        )

    def _mix(self, rows: int, source: int) -> tf.Tensor:
        """Return random weights for blends of real and generated images.

        The values depend only on the seed and on the number of the update. Therefore a resumed run
        uses the same blends as an uninterrupted run.

        Args:
            rows: number of image pairs that this replica blends.
            source: index of the data source: 0 for pairs of patches, 1 for photographs.

        Returns:
            [rows, 1, 1, 1] weights of the real images, in [0, 1).
        """
        seed = tf.stack([tf.constant(self._seed, tf.int64), self._optimizer.iterations])
        if source:
            seed += [source, 0]
        context = tf.distribute.get_replica_context()
        mixes = tf.random.stateless_uniform([rows * self._replicas, 1, 1, 1], seed)
        first = tf.cast(context.replica_id_in_sync_group, tf.int32) * rows
        return mixes[first : first + rows]

"""What a stage trains, by name: networks, and how fast each optimizer learns."""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.config.stages import NEEDS_DISCRIMINATOR, OF_GAZE, Stage
from mggr_tf.models.networks import Networks
from mggr_tf.training.step import Step


def trained_networks(networks: Networks, stage: Stage) -> dict[str, keras.Model]:
    """The networks that a stage changes, its discriminator among them; not their averages."""
    config = networks.config
    if stage in OF_GAZE:
        return {stage: getattr(networks, stage)}
    parts = config.models.parts if stage == "joint" else (stage,)
    found: dict[str, keras.Model] = {name: networks.redirection.part(name) for name in parts}
    if any(loss.name in NEEDS_DISCRIMINATOR for loss in config.stage(stage).active):
        found["discriminator"] = networks.discriminator
    return found


def learning_rates(step: Step) -> dict[str, float]:
    """The learning rate of the last update of each of a step's optimizers.

    Returns:
        `learning_rate`, and where there is a discriminator `discriminator_learning_rate`, as in
        the config.
    """
    return {
        name.replace("optimizer", "learning_rate"): float(optimizer.learning_rate.numpy())
        for name, optimizer in step.state().items()
        if isinstance(optimizer, keras.optimizers.Optimizer)
    }

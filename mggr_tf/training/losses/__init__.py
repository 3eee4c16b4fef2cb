"""Loss functions by name; their weights are set in the config.

Each function returns one value per example, to be minimised, so that a step can average over the
global batch of a distribution strategy.
"""

from mggr_tf.training.losses.adversary import discriminator_loss, gradient_penalty
from mggr_tf.training.losses.redirection import LOSSES, LossContext

__all__ = ["LOSSES", "LossContext", "discriminator_loss", "gradient_penalty"]

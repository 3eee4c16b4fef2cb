"""Loss functions. The config sets the weight of each loss.

Each function returns one value for each example in the batch. Smaller values are better. The
training step averages the values over the whole batch, which can be divided between devices.
"""

from mggr_tf.training.losses.adversary import discriminator_loss, gradient_penalty
from mggr_tf.training.losses.redirection import LOSSES, LossContext

__all__ = ["LOSSES", "LossContext", "discriminator_loss", "gradient_penalty"]

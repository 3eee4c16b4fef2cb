"""Feature maps of a picture and its target, seen by one frozen network in one and the same way."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from tensorflow import keras

Features = dict[str, tf.Tensor]


class Comparison:
    """Shows pictures to a feature network.

    Args:
        network: model of `eye` [B, H, W, 3], and of `head_pose` where it has that input;
            outputs a dict of feature maps.
    """

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._with_head = len(network.inputs) > 1

    def __call__(
        self,
        picture: tf.Tensor,
        target: tf.Tensor,
        head: Mapping[str, tf.Tensor],
    ) -> tuple[Features, Features]:
        """Features of the picture and of the target, float32.

        Args:
            picture, target: [B, H, W, 3] in [-1, 1].
            head: `head_pose` [B, 2].
        """
        # One after the other: through both at once, the way back would lead through the target's
        # half too, for nothing.
        ours = self._features(picture, head)
        real = self._features(target, head)
        return ours, {name: tf.stop_gradient(value) for name, value in real.items()}

    def _features(self, pictures: tf.Tensor, head: Mapping[str, tf.Tensor]) -> Features:
        shown = {"eye": pictures, **head} if self._with_head else pictures
        seen = self._network(shown, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in seen.items()}

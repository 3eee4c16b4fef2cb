"""Backward warping by a flow field, the coarse branch's way to move an iris."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from mggr_tf.models.addons import dense_image_warp


@keras.utils.register_keras_serializable("mggr_tf")
class BackwardWarp(keras.layers.Layer):
    """Reads an image where a flow field points [1].

    Output pixel (x, y) is the bilinear read of `image` at (x + dx, y + dy).
    Reads outside the image repeat its border pixel.

    Inputs:
        image: [B, H, W, C] float32, any range; the layer is linear in it.
        flow: [B, H, W, 2] float32, pixels, (dx, dy), +x right, +y down.

    Returns:
        [B, H, W, C] float32.

    Raises:
        ValueError: on build, when `flow` has not exactly two channels.

    Example:
        >>> image = tf.reshape([0., 1., 2., 3., 0., 1., 2., 3.], [1, 2, 4, 1])
        >>> flow = tf.broadcast_to([1., 0.], [1, 2, 4, 2])   # look one pixel right
        >>> BackwardWarp()([image, flow])[0, 0, :, 0].numpy()
        array([1., 2., 3., 3.], dtype=float32)

    References:
        [1] Jaderberg et al., Spatial Transformer Networks, NeurIPS 2015, eq. 5.
    """

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Checks that the second input is a flow."""
        if input_shape[1][-1] != 2:
            raise ValueError(f"flow must have 2 channels (dx, dy), got {input_shape[1][-1]}")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Warps; see the class."""
        image, flow = inputs
        # tensorflow-addons reads at (y - flow[..., 0], x - flow[..., 1]).
        return dense_image_warp(image, -flow[..., ::-1])

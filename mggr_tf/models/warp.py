"""Backward warping by a flow field, the coarse branch's way to move an iris."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from mggr_tf.models.addons import dense_image_warp

Interpolation = Literal["bilinear", "bicubic"]

_TAPS = 4
_SHARPNESS = -0.75
"""Keys' parameter [2]. OpenCV's INTER_CUBIC, with which devices warp, and ONNX' GridSample
have the same."""

_BEFORE, _BEHIND = 3, 4
"""Border pixels that are repeated, so that taps around [-2, size + 1] all exist."""


@keras.utils.register_keras_serializable("mggr_tf")
class BackwardWarp(keras.layers.Layer):
    """Reads an image where a flow field points [1].

    Output pixel (x, y) is the interpolated read of `image` at (x + dx, y + dy).
    Reads outside the image repeat its border pixel.

    Args:
        interpolation: `bilinear`, or `bicubic` [2], which keeps texture: a patch that
            is moved by half a pixel bilinearly has lost its finest scale.

    Inputs:
        image: [B, H, W, C] float32, any range; the layer is linear in it.
        flow: [B, H, W, 2] float32, pixels, (dx, dy), +x right, +y down.

    Returns:
        [B, H, W, C] float32; bicubic reads may leave the image's range by a little.

    Raises:
        ValueError: an unknown interpolation; on build, when `flow` has not exactly
            two channels.

    Example:
        >>> image = tf.reshape([0., 1., 2., 3., 0., 1., 2., 3.], [1, 2, 4, 1])
        >>> flow = tf.broadcast_to([1., 0.], [1, 2, 4, 2])   # look one pixel right
        >>> BackwardWarp()([image, flow])[0, 0, :, 0].numpy()
        array([1., 2., 3., 3.], dtype=float32)

    References:
        [1] Jaderberg et al., Spatial Transformer Networks, NeurIPS 2015, eq. 5.
        [2] Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE
            TASSP 1981.
    """

    def __init__(self, interpolation: Interpolation = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if interpolation not in _READERS:
            raise ValueError(f"interpolation must be one of {', '.join(_READERS)}")
        self.interpolation = interpolation

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Checks that the second input is a flow."""
        if input_shape[1][-1] != 2:
            raise ValueError(f"flow must have 2 channels (dx, dy), got {input_shape[1][-1]}")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Warps; see the class."""
        return _READERS[self.interpolation](*inputs)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras' own serialisation."""
        return {**super().get_config(), "interpolation": self.interpolation}


def _bilinear(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    # tensorflow-addons reads at (y - flow[..., 0], x - flow[..., 1]).
    return dense_image_warp(image, -flow[..., ::-1])


def _bicubic(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    height, width, channels = image.shape[1:]
    x, weights_x = _places(flow[..., 0], tf.range(width, dtype=tf.float32)[None, None], width)
    y, weights_y = _places(flow[..., 1], tf.range(height, dtype=tf.float32)[None, :, None], height)
    around, across = _neighbourhoods(image)
    flat = tf.reshape(around, [-1, around.shape[1] * across, _TAPS**2 * channels])
    rows = tf.reshape(y * across + x, [-1, height * width])
    taps = tf.gather(flat, rows, axis=1, batch_dims=1)
    taps = tf.reshape(taps, [-1, height * width, _TAPS**2, channels])
    weights = weights_y[..., :, None] * weights_x[..., None, :]  # [B, H, W, 4, 4]
    weights = tf.reshape(weights, [-1, height * width, _TAPS**2, 1])
    return tf.reshape(tf.reduce_sum(taps * weights, 2), [-1, height, width, channels])


_READERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _places(shift: tf.Tensor, at: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where taps begin (an index into `_neighbourhoods`) and their weights, along one axis.

    Args:
        shift: [B, H, W] pixels.
        at: the output pixels' own places, broadcastable to it.
        size: of the image along the axis.

    Returns:
        [B, H, W] int32, and [B, H, W, 4].
    """
    # Beyond two pixels outside, all four taps read the border pixel.
    place = tf.clip_by_value(at + shift, -2.0, size + 1.0)
    whole = tf.floor(place)
    return tf.cast(whole, tf.int32) - 1 + _BEFORE, _keys_weights(place - whole)


def _keys_weights(t: tf.Tensor) -> tf.Tensor:
    """Weights of the pixels at -1, 0, 1 and 2 for a read at `t` in [0, 1), stacked last."""
    a = _SHARPNESS
    u = 1.0 - t

    def near(d: tf.Tensor) -> tf.Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: tf.Tensor) -> tf.Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return tf.stack([far(1 + t), near(t), near(u), far(1 + u)], -1)


def _neighbourhoods(image: tf.Tensor) -> tuple[tf.Tensor, int]:
    """Every 4 x 4 neighbourhood as one pixel, so that a read is one gather.

    Returns:
        [B, H + 4, W + 4, 16 C], the neighbourhood that begins 3 pixels outside the
        image first; and W + 4.
    """
    height, width = image.shape[1:3]
    # Borders are repeated by clipped indices: tf.pad cannot.
    rows = tf.clip_by_value(tf.range(-_BEFORE, height + _BEHIND), 0, height - 1)
    columns = tf.clip_by_value(tf.range(-_BEFORE, width + _BEHIND), 0, width - 1)
    wide = tf.gather(tf.gather(image, rows, axis=1), columns, axis=2)
    down, across = height + _BEFORE + _BEHIND - _TAPS + 1, width + _BEFORE + _BEHIND - _TAPS + 1
    shifted = [wide[:, i : i + down, j : j + across] for i in range(_TAPS) for j in range(_TAPS)]
    return tf.concat(shifted, -1), across

"""Fast implementations of the layers of shift-tolerant networks (see `stlpips.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)
"""The mean and the standard deviation of the RGB values of ImageNet, in [-1, 1]. LPIPS scales its
input with these values (Zhang et al., CVPR 2018)."""


@keras.utils.register_keras_serializable("mggr_tf")
class ImageNetScaling(keras.layers.Layer):
    """Scales RGB as in LPIPS: over ImageNet, the mean becomes 0 and the standard deviation 1.

    Inputs:
        [B, H, W, 3] float32 in [-1, 1].

    Returns:
        [B, H, W, 3] float32.
    """

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Scale the image. See the class docstring."""
        return (image - tf.constant(_MEAN, image.dtype)) / tf.constant(_DEVIATION, image.dtype)


@keras.utils.register_keras_serializable("mggr_tf")
class BlurPool(keras.layers.Layer):
    """Blurs with the binomial kernel (1 2 1)/4 in both directions, and halves the resolution.

    Before the blur, the image gets mirror padding. The border is two pixels wide, although the blur
    needs only one pixel. The layer is computed as a matrix product along each axis. Separate
    padding and pooling would take several times as long, especially in bfloat16.

    Inputs:
        [B, H, W, C], H and W at least 3.

    Returns:
        [B, (H + 3) // 2, (W + 3) // 2, C].
    """

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Blur the features and halve their resolution. See the class docstring."""
        channels = features.shape[3]
        height, width = (features.shape[i] or tf.shape(features)[i] for i in (1, 2))
        down, across = (tf.cast(_halving(size), features.dtype) for size in (height, width))
        columns = tf.reshape(features, [-1, height, width * channels])
        halved = tf.reshape(tf.matmul(down, columns), [-1, (height + 3) // 2, width, channels])
        return tf.matmul(across, halved)


def _halving(size: int | tf.Tensor) -> tf.Tensor:
    """Return the matrix [(size + 3) // 2, size] that blurs a row and keeps every second pixel."""
    left = 2 * tf.range((size + 3) // 2) - 2
    taps = []
    for place, weight in enumerate((0.25, 0.5, 0.25)):
        reflected = size - 1 - tf.abs(size - 1 - tf.abs(left + place))
        taps.append(weight * tf.one_hot(reflected, size))
    return tf.add_n(taps)


@keras.utils.register_keras_serializable("mggr_tf")
class PixelSquares(keras.layers.Layer):
    """Pads with zeros, and combines every 2 x 2 pixels into one pixel with 4 C channels.

    A convolution of stride 2 on the image is equal to a convolution of stride 1 on the result.
    `on_squares` computes the kernel of the convolution of stride 1. With three input channels, its
    gradient takes a third of the time.

    Args:
        border: width of the border in pixels. If the height is odd, the bottom border is one pixel
            wider. If the width is odd, the right border is one pixel wider.

    Inputs:
        [B, H, W, C].

    Returns:
        [B, (H + 2 border + 1) // 2, (W + 2 border + 1) // 2, 4 C].
    """

    def __init__(self, border: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.border = int(border)

    def call(self, picture: tf.Tensor) -> tf.Tensor:
        """Pad and rearrange the image. See the class docstring."""
        height, width = (picture.shape[i] or tf.shape(picture)[i] for i in (1, 2))
        borders = [[self.border, self.border + size % 2] for size in (height, width)]
        return tf.nn.space_to_depth(tf.pad(picture, [[0, 0], *borders, [0, 0]]), 2)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "border": self.border}


def on_squares(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert the kernel of a convolution of stride 2 to a kernel for the output of `PixelSquares`.

    Args:
        kernel: [k, k, in, out] with odd k.

    Returns:
        [(k + 1) / 2, (k + 1) / 2, 4 in, out]. The last row and the last column of squares are
        partly outside the original kernel. Outside this kernel, the weights are zero.
    """
    size, _, channels, out = kernel.shape
    half = (size + 1) // 2
    squares = np.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    squares = squares.reshape(half, 2, half, 2, channels, out).transpose(0, 2, 1, 3, 4, 5)
    return squares.reshape(half, half, 4 * channels, out)

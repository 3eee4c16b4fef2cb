"""Layers of shift-tolerant networks (`stlpips.py`), as products and convolutions that are fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)
"""Of ImageNet's RGB in [-1, 1], as LPIPS scales its input (Zhang et al., CVPR 2018)."""


@keras.utils.register_keras_serializable("mggr_tf")
class ImageNetScaling(keras.layers.Layer):
    """RGB in [-1, 1] to zero mean and unit deviation over ImageNet, as LPIPS does.

    Inputs:
        [B, H, W, 3] float32 in [-1, 1].

    Returns:
        [B, H, W, 3] float32.
    """

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Scales; see the class."""
        return (image - tf.constant(_MEAN, image.dtype)) / tf.constant(_DEVIATION, image.dtype)


@keras.utils.register_keras_serializable("mggr_tf")
class BlurPool(keras.layers.Layer):
    """Halves the resolution after a binomial blur, (1 2 1)/4 each way.

    The border is reflected two pixels wide, one more than the blur needs. Computed as a
    product with a matrix along either axis: to pad by reflection and to pool takes several
    times as long, in bfloat16 above all.

    Inputs:
        [B, H, W, C], H and W at least 3.

    Returns:
        [B, (H + 3) // 2, (W + 3) // 2, C].
    """

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Blurs and strides; see the class."""
        channels = features.shape[3]
        height, width = (features.shape[i] or tf.shape(features)[i] for i in (1, 2))
        down, across = (tf.cast(_halving(size), features.dtype) for size in (height, width))
        columns = tf.reshape(features, [-1, height, width * channels])
        halved = tf.reshape(tf.matmul(down, columns), [-1, (height + 3) // 2, width, channels])
        return tf.matmul(across, halved)


def _halving(size: int | tf.Tensor) -> tf.Tensor:
    """[(size + 3) // 2, size]: what blurs a row and leaves out every other pixel."""
    left = 2 * tf.range((size + 3) // 2) - 2
    taps = []
    for place, weight in enumerate((0.25, 0.5, 0.25)):
        reflected = size - 1 - tf.abs(size - 1 - tf.abs(left + place))
        taps.append(weight * tf.one_hot(reflected, size))
    return tf.add_n(taps)


@keras.utils.register_keras_serializable("mggr_tf")
class PixelSquares(keras.layers.Layer):
    """Squares of 2 x 2 pixels as one of four times the channels, after a border of zeros.

    What was a convolution of stride 2 is a plain one on them (`on_squares` arranges its
    filters). With three channels to begin with, its way back takes a third of the time.

    Args:
        border: width of the border, pixels; where the size is odd, the lower and the right
            one are a pixel wider.

    Inputs:
        [B, H, W, C].

    Returns:
        [B, (H + 2 border + 1) // 2, (W + 2 border + 1) // 2, 4 C].
    """

    def __init__(self, border: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.border = int(border)

    def call(self, picture: tf.Tensor) -> tf.Tensor:
        """Pads and rearranges; see the class."""
        height, width = (picture.shape[i] or tf.shape(picture)[i] for i in (1, 2))
        borders = [[self.border, self.border + size % 2] for size in (height, width)]
        return tf.nn.space_to_depth(tf.pad(picture, [[0, 0], *borders, [0, 0]]), 2)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras' own serialisation."""
        return {**super().get_config(), "border": self.border}


def on_squares(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel [k, k, in, out] of stride 2 for `PixelSquares`, [(k + 1) / 2, ..., 4 in, out].

    k is odd; what the last square has beyond it is not read.
    """
    size, _, channels, out = kernel.shape
    half = (size + 1) // 2
    squares = np.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    squares = squares.reshape(half, 2, half, 2, channels, out).transpose(0, 2, 1, 3, 4, 5)
    return squares.reshape(half, half, 4 * channels, out)

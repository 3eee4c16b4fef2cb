"""Warp an image by a flow field.

A flow field contains a vector for each output pixel. The vector points to the position in the input
image from which the output pixel is read (backward warping).

If TensorFlow Addons is installed, the bilinear warp is from TensorFlow Addons. Its development has
ended with release 0.23.0, and every import prints a warning. This module hides the warning, because
mggr-tf uses a fixed version on purpose. TensorFlow Addons supports only Python 3.10 and 3.11. With
later versions of Python, the bilinear warp is `dense_warp`, which returns the same values.
"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow import keras

try:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended", category=UserWarning
        )
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        from tensorflow_addons.image import dense_image_warp
except ModuleNotFoundError:
    dense_image_warp = None


Interpolation = Literal["bilinear", "bicubic"]

Tracer = Callable[[tf.Tensor, tf.Tensor, Interpolation], tf.Tensor]

_traced_as: Tracer | None = None

_SHARPNESS = -0.75
"""The parameter a of bicubic interpolation as defined by Keys [2]. `INTER_CUBIC` of OpenCV, which
warps images on the device, and the op `GridSample` of ONNX use the same value."""


@keras.utils.register_keras_serializable("mggr_tf")
class BackwardWarp(keras.layers.Layer):
    """Samples an image at the positions of a flow field [1].

    Output pixel (x, y) is the interpolated value of `image` at (x + dx, y + dy). For positions
    outside the image, the nearest border pixel is used.

    Args:
        interpolation: `bilinear` or `bicubic` [2]. Bicubic interpolation preserves texture. A
            bilinear shift by half a pixel removes the finest details of the patch.

    Inputs:
        image: [B, H, W, C] float32, with any range of values. The layer is linear in `image`.
        flow: [B, H, W, 2] float32, (dx, dy) in pixels. +x is right, +y is down.

    Returns:
        [B, H, W, C] float32. With bicubic interpolation, values can be slightly outside the range
        of the image.

    Raises:
        ValueError: the interpolation is unknown.
        ValueError: on build, the number of channels of `flow` is not 2.

    Example:
        >>> image = tf.reshape([0., 1., 2., 3., 0., 1., 2., 3.], [1, 2, 4, 1])
        >>> flow = tf.broadcast_to([1., 0.], [1, 2, 4, 2])   # read one pixel to the right
        >>> BackwardWarp()([image, flow])[0, 0, :, 0].numpy()
        array([1., 2., 3., 3.], dtype=float32)

    References:
        [1] Jaderberg et al., Spatial Transformer Networks, NeurIPS 2015, eq. 5.
        [2] Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981.
    """

    def __init__(self, interpolation: Interpolation = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if interpolation not in _READERS:
            raise ValueError(f"interpolation must be one of {', '.join(_READERS)}")
        self.interpolation = interpolation

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Check that the second input is a flow field."""
        if input_shape[1][-1] != 2:
            raise ValueError(f"flow must have 2 channels (dx, dy), got {input_shape[1][-1]}")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Warp the image. See the class docstring."""
        if _traced_as is not None:
            return _traced_as(*inputs, self.interpolation)
        return _READERS[self.interpolation](*inputs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "interpolation": self.interpolation}


@contextmanager
def warps_traced_as(op: Tracer) -> Iterator[None]:
    """Replace the warp by the function `op` while a model is traced.

    The arguments of `op` are (image, flow, interpolation). Use this context for runtimes that have
    their own warp operation. Without the replacement, a traced warp consists of dozens of gather
    operations. Converters do not recognise that these operations are a warp.
    """
    global _traced_as
    before, _traced_as = _traced_as, op
    try:
        yield
    finally:
        _traced_as = before


def _bilinear(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    if dense_image_warp is None:
        return dense_warp(image, flow)
    # TensorFlow Addons samples at (y - flow[..., 0], x - flow[..., 1]).
    return dense_image_warp(image, -flow[..., ::-1])


def dense_warp(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Warp an image with bilinear interpolation. Border pixels are repeated outside the image.

    Args:
        image: [B, H, W, C] float.
        flow: [B, H, W, 2] float, (dx, dy) in pixels. Output pixel (x, y) is read at (x + dx, y +
            dy).

    Returns:
        [B, H, W, C], in the dtype of `image`.
    """
    height, width, channels = image.shape[1:]
    grid_y, grid_x = np.mgrid[:height, :width].astype(np.float32)
    x = tf.clip_by_value(tf.constant(grid_x) + tf.cast(flow[..., 0], tf.float32), 0, width - 1)
    y = tf.clip_by_value(tf.constant(grid_y) + tf.cast(flow[..., 1], tf.float32), 0, height - 1)
    # At the last row and column, the second neighbour has the weight 0.
    left, top = tf.minimum(tf.floor(x), width - 2.0), tf.minimum(tf.floor(y), height - 2.0)
    across = tf.cast(x - left, image.dtype)[..., None]
    down = tf.cast(y - top, image.dtype)[..., None]
    first = tf.cast(top, tf.int32) * width + tf.cast(left, tf.int32)
    pixels = tf.reshape(image, [-1, height * width, channels])

    def read(offset: int) -> tf.Tensor:
        return tf.gather(pixels, first + offset, axis=1, batch_dims=1)

    upper = read(0) + across * (read(1) - read(0))
    lower = read(width) + across * (read(width + 1) - read(width))
    return upper + down * (lower - upper)


def _bicubic(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    # In small runtimes, many gathers, integer ops and strided slices take longer than the
    # computation of the weights. The code therefore uses few of these ops. Each gather reads four
    # neighbours of a row at once. Positions stay floats until the gather. Channels are split, not
    # sliced.
    height, width, channels = image.shape[1:]
    pixels, starts = height * width, width + _BEYOND
    y, x = np.mgrid[:height, :width].astype(np.float32).reshape(2, 1, pixels)
    dx, dy = (tf.reshape(part, [-1, pixels]) for part in tf.split(flow, 2, axis=-1))
    column, weights_x = _place(dx, tf.constant(x), width)
    row, weights_y = _place(dy, tf.constant(y), height)
    fours = _fours(image)
    alone = image.shape[0] == 1
    first = 0 if alone else tf.range(tf.shape(image)[0])[:, None] * (height * starts)

    def line(tap: float) -> tf.Tensor:
        """Return four neighbours in one row, [B N, 4 C], for each output pixel.

        Border rows are repeated outside the image.
        """
        start = tf.clip_by_value(row + tap, 0.0, height - 1.0) * float(starts) + (column + 2.0)
        places = tf.cast(start, tf.int32)
        return tf.gather(fours, tf.reshape(places if alone else first + places, [-1]))

    lines = _weighted(weights_y, [line(tap) for tap in _TAPS])
    warped = _weighted(weights_x, tf.split(lines, 4, axis=-1))
    return tf.reshape(warped, [-1, height, width, channels])


_TAPS = (-1.0, 0.0, 1.0, 2.0)
"""Bicubic interpolation along one axis uses four pixels (taps). These values are the offsets of the
taps from the sampling position, rounded down."""

_BEYOND = 4
"""The number of additional start positions for each row (see `_fours`). Sampling positions up to
two pixels outside the image need these start positions."""


def _fours(image: tf.Tensor) -> tf.Tensor:
    """Return groups of four pixels, [B H (W + 4), 4 C].

    Each start position has a group: the pixel at this position and the next three pixels to the
    right. The first start position is three pixels to the left of the image. Border pixels are
    repeated outside the image.
    """
    width, channels = image.shape[2:]
    starts = np.arange(-3, width + _BEYOND - 3)
    columns = np.clip(starts[:, None] + np.arange(4), 0, width - 1).ravel()
    # The code uses a reshape and a gather. With slices or a concatenation, the TFLite quantizer
    # would pass on a rounded image.
    rows = tf.reshape(image, [-1, width, channels])
    return tf.reshape(tf.gather(rows, columns, axis=1), [-1, 4 * channels])


def _weighted(weights: list[tf.Tensor], values: list[tf.Tensor]) -> tf.Tensor:
    """Return the weighted sum of values [M, C]. The weights are [B, N], and M = B N."""
    return _sum(tf.reshape(w, [-1, 1]) * v for w, v in zip(weights, values, strict=True))


def _sum(terms: Iterable[tf.Tensor]) -> tf.Tensor:
    """Add tensors one after another. Ops that add many tensors at once are slow on devices."""
    return functools.reduce(operator.add, terms)


_READERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _place(shift: tf.Tensor, at: tf.Tensor, size: int) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the integer positions and the weights of an interpolation along one axis.

    Args:
        shift: [B, N], flow in pixels.
        at: positions of the output pixels along the axis, in a shape that can be broadcast to
            `shift`.
        size: size of the image along the axis, in pixels.

    Returns:
        the integer positions [B, N], from -2 to `size` + 1, and four tensors of weights [B, N], one
        for each of the four interpolated pixels.
    """
    # If a position is more than two pixels outside the image, all four taps use the border pixel.
    place = tf.clip_by_value(at + shift, -2.0, size + 1.0)
    whole = tf.floor(place)
    return whole, _keys_weights(place - whole)


def _keys_weights(t: tf.Tensor) -> list[tf.Tensor]:
    """Return the weights of the four pixels at -1, 0, 1 and 2. The position `t` is in [0, 1)."""
    a = _SHARPNESS

    def near(d: tf.Tensor) -> tf.Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: tf.Tensor) -> tf.Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]

"""The warp of a picture by a flow.

Its project has ended (last release 0.23.0) and says so in a warning on every
import; that warning is silenced here because the pin is deliberate. Each thing
that is taken from it stands in this file, to be replaced in one place.
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

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended", category=UserWarning
    )
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from tensorflow_addons.image import dense_image_warp

__all__ = ["dense_image_warp"]


Interpolation = Literal["bilinear", "bicubic"]

Tracer = Callable[[tf.Tensor, tf.Tensor, Interpolation], tf.Tensor]

_traced_as: Tracer | None = None

_SHARPNESS = -0.75
"""Keys' parameter [2]. OpenCV's INTER_CUBIC, with which devices warp, and ONNX' GridSample
have the same."""


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
        if _traced_as is not None:
            return _traced_as(*inputs, self.interpolation)
        return _READERS[self.interpolation](*inputs)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras' own serialisation."""
        return {**super().get_config(), "interpolation": self.interpolation}


@contextmanager
def warps_traced_as(op: Tracer) -> Iterator[None]:
    """Models traced inside warp by another op, of (image, flow, interpolation).

    For runtimes that have a warp of their own: traced from TensorFlow it is dozens of
    gathers, in which no converter sees a warp any more.
    """
    global _traced_as
    before, _traced_as = _traced_as, op
    try:
        yield
    finally:
        _traced_as = before


def _bilinear(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    # tensorflow-addons reads at (y - flow[..., 0], x - flow[..., 1]).
    return dense_image_warp(image, -flow[..., ::-1])


def _bicubic(image: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    # Four neighbours of a row are read at once, places stay floats up to the reads, channels are
    # split rather than sliced: what small runtimes do with many reads, integers and strides takes
    # longer than the weights.
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
        """Four neighbours each, [B N, 4 C], of the row at a tap; the border's beyond it."""
        start = tf.clip_by_value(row + tap, 0.0, height - 1.0) * float(starts) + (column + 2.0)
        places = tf.cast(start, tf.int32)
        return tf.gather(fours, tf.reshape(places if alone else first + places, [-1]))

    lines = _weighted(weights_y, [line(tap) for tap in _TAPS])
    warped = _weighted(weights_x, tf.split(lines, 4, axis=-1))
    return tf.reshape(warped, [-1, height, width, channels])


_TAPS = (-1.0, 0.0, 1.0, 2.0)
"""The four pixels of a read along one axis, from the whole place."""

_BEYOND = 4
"""A read may begin up to two pixels beyond either border."""


def _fours(image: tf.Tensor) -> tf.Tensor:
    """[B H (W + 4), 4 C]: each pixel and the three to its right, from three pixels left of the
    border on; beyond it the border's pixel is repeated."""
    width, channels = image.shape[2:]
    starts = np.arange(-3, width + _BEYOND - 3)
    columns = np.clip(starts[:, None] + np.arange(4), 0, width - 1).ravel()
    # A reshape and gathers: behind slices or a concatenation, TFLite's quantiser would hand on a
    # rounded picture.
    rows = tf.reshape(image, [-1, width, channels])
    return tf.reshape(tf.gather(rows, columns, axis=1), [-1, 4 * channels])


def _weighted(weights: list[tf.Tensor], values: list[tf.Tensor]) -> tf.Tensor:
    """Sum of values [M, C] by weights [B, N], M = B N."""
    return _sum(tf.reshape(w, [-1, 1]) * v for w, v in zip(weights, values, strict=True))


def _sum(terms: Iterable[tf.Tensor]) -> tf.Tensor:
    """One addition after another: an op for many sums has a slow kernel on devices."""
    return functools.reduce(operator.add, terms)


_READERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _place(shift: tf.Tensor, at: tf.Tensor, size: int) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Where a read lies along one axis.

    Args:
        shift: [B, N] pixels.
        at: the output pixels' own places, broadcastable to it.
        size: of the image along the axis.

    Returns:
        the whole place [B, N], from -2 to `size` + 1, and the weights [B, N] of its taps.
    """
    # Beyond two pixels outside, all four taps read the border pixel.
    place = tf.clip_by_value(at + shift, -2.0, size + 1.0)
    whole = tf.floor(place)
    return whole, _keys_weights(place - whole)


def _keys_weights(t: tf.Tensor) -> list[tf.Tensor]:
    """Weights of the pixels at -1, 0, 1 and 2 for a read at `t` in [0, 1)."""
    a = _SHARPNESS

    def near(d: tf.Tensor) -> tf.Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: tf.Tensor) -> tf.Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]

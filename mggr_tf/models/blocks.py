"""Define the layers of the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from mggr_tf.models.precision import EXACT

Gradient = Callable[[tf.Tensor], tf.Tensor]


@keras.utils.register_keras_serializable("mggr_tf")
class Modulation(keras.layers.Layer):
    """Scales and shifts channels by a condition: `x (1 + A c) + B c` (FiLM [1]).

    The matrices A and B start at zero. A condition can be constant in training, for example a head
    pitch that is 0 in the whole data set. Such a condition has no random influence on the results
    on a device.

    Inputs:
        features: [B, H, W, C] float32.
        condition: [B, K] float32.

    Returns:
        [B, H, W, C] float32.

    References:
        [1] Perez et al., FiLM, AAAI 2018.
    """

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Create the two dense layers for A and B."""
        channels = input_shape[0][-1]
        from_zero: dict[str, Any] = {"kernel_initializer": "zeros", "dtype": self.dtype_policy}
        self._scale = keras.layers.Dense(channels, name="scale", **from_zero)
        self._shift = keras.layers.Dense(channels, name="shift", **from_zero)
        self._scale.build(input_shape[1])
        self._shift.build(input_shape[1])
        self._shape = (-1, 1, 1, channels)
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Modulate the features. See the class docstring."""
        features, condition = inputs
        scale = tf.reshape(self._scale(condition), self._shape)  # [B, 1, 1, C]
        shift = tf.reshape(self._shift(condition), self._shape)
        return features * (1.0 + scale) + shift


@keras.utils.register_keras_serializable("mggr_tf")
class DepthToSpace(keras.layers.Layer):
    """Doubles the resolution by rearranging channels (sub-pixel convolution, Shi et al. 2016).

    Inputs:
        [B, H, W, 4 C] float32.

    Returns:
        [B, 2 H, 2 W, C] float32.
    """

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Rearrange the channels. See the class docstring."""
        return tf.nn.depth_to_space(features, 2)


@keras.utils.register_keras_serializable("mggr_tf")
class SpaceToDepth(keras.layers.Layer):
    """Stores each block of 2 x 2 pixels as the channels of one pixel. Inverse of `DepthToSpace`.

    A convolution with few channels at full resolution is slow on processors: the time for each
    multiplication is five to ten times as long as with many channels. On blocks, the same
    convolution has four times as many channels.

    Inputs:
        [B, 2 H, 2 W, C] float32.

    Returns:
        [B, H, W, 4 C] float32.
    """

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Rearrange the pixels. See the class docstring."""
        return tf.nn.space_to_depth(features, 2)


@keras.utils.register_keras_serializable("mggr_tf")
class Upsampled(keras.layers.UpSampling2D):
    """Repeats every value over 2 x 2 pixels, with a gradient that XLA supports.

    The results are those of the Keras layer. XLA has no kernel for the gradient of the TensorFlow
    op.

    Inputs:
        [B, H, W, C] float32.

    Returns:
        [B, 2 H, 2 W, C] float32.
    """

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Repeat the values. See the class docstring."""
        spread = super().call
        if not training:
            return spread(features)

        @tf.custom_gradient
        def spread_in_training(features: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
            return spread(features), _summed_by_fours

        return spread_in_training(features)


def _summed_by_fours(gradient: tf.Tensor) -> tf.Tensor:
    return 4.0 * tf.nn.avg_pool2d(gradient, 2, 2, "VALID")


@keras.utils.register_keras_serializable("mggr_tf")
class AddAndClip(keras.layers.Layer):
    """Adds the coarse image and the residual, and clips the sum to [-1, 1].

    Inputs:
        coarse, residual: [B, H, W, 3] float32.

    Returns:
        [B, H, W, 3] float32 in [-1, 1].
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Add and clip. See the class docstring."""
        coarse, residual = inputs
        return tf.clip_by_value(coarse + residual, -1.0, 1.0)


@keras.utils.register_keras_serializable("mggr_tf")
class PerChannel(keras.initializers.Initializer):
    """Initializes a bias with one value per channel.

    Args:
        values: initial values.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = [float(value) for value in values]

    def __call__(self, shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """Return the values, [C]."""
        return tf.constant(self.values, dtype, shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {"values": self.values}


OPACITY_UNIT = 8.0
"""The output layer predicts the logit of the opacity in this unit. In an int8 file, all channels of
an output layer have one quantization step. With this unit, logits are about as large as colours."""


@keras.utils.register_keras_serializable("mggr_tf")
class Opacity(keras.layers.Layer):
    """Splits the output of a fine branch into an opacity and the content that it adds.

    The opacity `alpha` is the fraction of the coarse image that a predicted colour replaces.

    Inputs:
        parts: [B, H, W, 7] float32: content that is added (3 channels), logit of the opacity in
            units of `OPACITY_UNIT` (1), and colour that replaces the coarse image (3).

    Returns:
        dict of float32 tensors: `alpha` [B, H, W, 1] in [0, 1], and `residual` [B, H, W, 3], the
        sum of the added content and of `alpha` times the colour.
    """

    def call(self, parts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute both outputs. See the class docstring."""
        added, logit, colour = tf.split(parts, [3, 1, 3], axis=-1)
        alpha = tf.sigmoid(OPACITY_UNIT * logit)
        return {"alpha": alpha, "residual": added + alpha * colour}


@keras.utils.register_keras_serializable("mggr_tf")
class BlendAndClip(keras.layers.Layer):
    """Blends an image with new content: `clip((1 - alpha) picture + residual, -1, 1)`.

    `mggr_edge.pipeline.compositing.compose_eye` does the same at the resolution of a frame.

    Inputs:
        picture, alpha, residual: [B, H, W, 3], [B, H, W, 1] and [B, H, W, 3] float32.

    Returns:
        [B, H, W, 3] float32 in [-1, 1].
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Blend and clip. See the class docstring."""
        picture, alpha, residual = inputs
        return tf.clip_by_value(picture - alpha * picture + residual, -1.0, 1.0)


@keras.utils.register_keras_serializable("mggr_tf")
class LayeredFlow(keras.layers.Layer):
    """Combines two smooth flows with a sharp visibility: `first + visibility (second - first)`.

    The iris and the lid move differently, and the border between them is sharp. One smooth flow
    would stretch the iris along this border.

    Args:
        unit_px: unit of the predicted flows, in pixels of the patch.

    Inputs:
        parts: [B, H, W, 8] float32: first flow (2 channels), second flow (2), and the visibility
            of the second flow before the sigmoid function, for each block of 2 x 2 pixels (4).

    Returns:
        [B, 2 H, 2 W, 2] float32, (dx, dy) in pixels.
    """

    def __init__(self, unit_px: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unit_px = float(unit_px)
        self._up = keras.layers.UpSampling2D(interpolation="bilinear", dtype=EXACT)

    def call(self, parts: tf.Tensor) -> tf.Tensor:
        """Combine the flows. See the class docstring."""
        flows, logits = tf.split(parts, 2, axis=-1)
        first, second = tf.split(self._up(self.unit_px * flows), 2, axis=-1)
        visibility = tf.sigmoid(tf.nn.depth_to_space(logits, 2))
        return first + visibility * (second - first)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "unit_px": self.unit_px}


@keras.utils.register_keras_serializable("mggr_tf")
class Lighten(keras.layers.Layer):
    """Returns a residual that makes an image whiter: `sigmoid(logit) (1 - picture)` (DeepWarp).

    Inputs:
        picture: [B, H, W, 3] float32 in [-1, 1]. 1 is white.
        logit: [B, H, W, 1] float32.

    Returns:
        [B, H, W, 3] float32. No value is negative.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Compute the residual. See the class docstring."""
        picture, logit = inputs
        return tf.sigmoid(logit) * (1.0 - picture)


@keras.utils.register_keras_serializable("mggr_tf")
class PaintOver(keras.layers.Layer):
    """Adds a residual and a blend towards a colour: `residual + tanh(gate) (colour - picture)`.

    Inputs:
        picture: [B, H, W, 3] float32 in [-1, 1].
        residual: [B, H, W, 3] float32, added to the picture.
        gate: [B, H, W, 1] float32. With 0, the colour has no effect. With a large value, the colour
            replaces the picture.
        colour: [B, H, W, 3] float32, colour of the blend.

    Returns:
        [B, H, W, 3] float32.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Compute the residual. See the class docstring."""
        picture, residual, gate, colour = inputs
        return residual + tf.tanh(gate) * (colour - picture)


@keras.utils.register_keras_serializable("mggr_tf")
class ZeroOutput(keras.layers.Layer):
    """Returns zeros. It replaces the output of a branch that does not exist.

    Args:
        channels: number of output channels.

    Inputs:
        [B, H, W, C] float32.

    Returns:
        [B, H, W, channels] float32, all 0.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = int(channels)

    def call(self, picture: tf.Tensor) -> tf.Tensor:
        """Return zeros. See the class docstring."""
        return tf.repeat(tf.zeros_like(picture[..., :1]), self.channels, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "channels": self.channels}


@keras.utils.register_keras_serializable("mggr_tf")
class Scale(keras.layers.Layer):
    """Multiplies by a constant. It converts the output of an output layer to another unit.

    Args:
        factor: the constant.
    """

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = float(factor)

    def call(self, value: tf.Tensor) -> tf.Tensor:
        """Multiply by the constant. See the class docstring."""
        return value * self.factor

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "factor": self.factor}


@keras.utils.register_keras_serializable("mggr_tf")
class ResumableDropout(keras.layers.Layer):
    """Dropout whose masks depend only on the seed and on the number of the call.

    The dropout layer of Keras uses a random generator. Checkpoints do not store this generator. A
    resumed run would therefore differ from a run without interruption. Here, the number of training
    calls is stored as a weight. With a distribution strategy, the mask is computed for the whole
    batch, and every replica uses its own rows.

    Args:
        rate: fraction of the values that are set to zero in training.
        seed: seed of the masks.
    """

    def __init__(self, rate: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.seed = float(rate), int(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the counter of training calls."""
        self._calls = self.add_weight(
            name="calls",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Apply dropout in training. Otherwise, return the input."""
        if not training:
            return features
        seed = tf.stack([tf.constant(self.seed, tf.int64), self._calls])
        dropped = features * self._mask(tf.shape(features), seed)
        self._calls.assign_add(1)
        return dropped

    def _mask(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the rows of this replica from the mask for the whole batch."""
        context = tf.distribute.get_replica_context()
        whole = tf.concat([shape[:1] * context.num_replicas_in_sync, shape[1:]], 0)
        mask = tf.nn.experimental.stateless_dropout(tf.ones(whole), self.rate, seed=seed)
        first = tf.cast(context.replica_id_in_sync_group, tf.int32) * shape[0]
        return tf.cast(mask[first : first + shape[0]], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor. Keras stores them with the model."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def batch_norm(name: str) -> keras.layers.Layer:
    """Return a batch normalisation over the whole batch, for any number of replicas."""
    # Synchronised normalisation has no fused kernel. On a single device, it is slower and has no
    # advantage.
    shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return keras.layers.BatchNormalization(name=name, synchronized=shared)


def convolution(width: int, *, name: str, stride: int = 1, size: int = 3) -> keras.layers.Layer:
    """Return a convolution with "same" padding and He initialisation. All branches use it."""
    return keras.layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        kernel_initializer="he_normal",
        name=name,
    )

"""Define the layers of the networks, and set the numeric precision of layers.

In a lower precision, the weights of a layer stay float32. The layer computes with rounded copies of
the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

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


Precision = Literal["float32", "bfloat16", "float16"]
OfFrozen = Literal["auto", "float32", "bfloat16"]

EXACT: Literal["float32"] = "float32"
"""The precision of the output layers (heads) and of all layers after the heads. The layers before
the heads can have another precision."""

_POLICIES = {EXACT: EXACT, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""The names that Linux uses for the bfloat16 instructions of x86 processors. OneDNN needs one of
these instruction sets."""
_GPUS_SINCE = {"float16": (7, 0), "bfloat16": (8, 0)}
"""For each precision: the minimum compute capability of an NVIDIA GPU that multiplies matrices in
this precision."""


def settled(precision: OfFrozen) -> Literal["float32", "bfloat16"]:
    """Return the precision for frozen networks on this machine.

    Only `auto` is replaced. Any other precision is returned unchanged. `auto` is replaced by
    bfloat16 if there is no GPU and Linux reports that the processor has bfloat16 instructions.
    Otherwise, it is replaced by float32.

    The reason is that bfloat16 is slow if it is emulated. With emulated bfloat16, a training step
    of the joint stage of `mggr-edge` takes 914 ms. With float32, it takes 435 ms (2.1 times as
    fast). These times were measured on two cores with AVX-512 and without AVX512-BF16.
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return EXACT
    return "bfloat16" if _processor_knows_bfloat16() else EXACT


def missing_for(precision: Precision) -> str | None:
    """Describe the hardware that a precision needs and that this machine does not have.

    Without this hardware, the precision is slower than float32.

    Returns:
        the description. `None` if this machine has the hardware.
    """
    if precision == EXACT:
        return None
    if gpus := tf.config.list_physical_devices("GPU"):
        since = _GPUS_SINCE[precision]
        weakest = min(map(_capability, gpus))
        if weakest >= since:
            return None
        here, asked = (".".join(map(str, version)) for version in (weakest, since))
        return f"a GPU of compute capability {asked} or more (here: {here})"
    if precision == "float16":
        return "a GPU of compute capability 7.0 or more (here: none)"
    if _processor_knows_bfloat16():
        return None
    return "a processor with AVX512-BF16 or AMX-BF16"


def processor_flags(cpuinfo: Path) -> frozenset[str]:
    """Return the instruction sets of the first processor.

    If Linux does not report the instruction sets, the result is empty.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


@contextmanager
def computing_in(precision: Precision | OfFrozen) -> Iterator[None]:
    """Set the precision of layers that are created in this context.

    The weights of the layers stay float32.
    """
    before = keras.mixed_precision.global_policy()
    named = settled(precision) if precision == "auto" else precision
    keras.mixed_precision.set_global_policy(_POLICIES[named])
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _processor_knows_bfloat16() -> bool:
    return bool(_BFLOAT16_FLAGS & processor_flags(_CPUINFO))


def _capability(gpu: tf.config.PhysicalDevice) -> tuple[int, int]:
    """Return the compute capability of a GPU. If TensorFlow does not report it, return (0, 0)."""
    details = tf.config.experimental.get_device_details(gpu)
    major, minor = details.get("compute_capability", (0, 0))
    return major, minor

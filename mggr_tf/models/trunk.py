"""Build the inputs of a redirector, and the trunks and output layers of its branches.

A redirector is a network that changes the gaze of an eye image. A redirector consists of one or two
networks, the branches. The trunk of a branch consists of all layers before the output layers. The
condition is the set of numbers that control the redirection: the angle difference and the head
pose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf
from tensorflow import keras

from mggr_tf.config.sizes import BranchSize, StackSize
from mggr_tf.models.blocks import (
    DepthToSpace,
    LayeredFlow,
    Modulation,
    PerChannel,
    Scale,
    SpaceToDepth,
    Upsampled,
    batch_norm,
    convolution,
)
from mggr_tf.models.precision import EXACT

_EMBEDDING = 16
"""The number of units of the two dense layers that process the condition in `stack`."""


def trunk(
    features: tf.Tensor, condition: tf.Tensor | None, *, size: BranchSize | StackSize
) -> tf.Tensor:
    """Build the trunk of a branch with Keras symbolic tensors.

    Args:
        features: [B, H, W, C], concatenated input images of the branch, for example eye and gaze
            map.
        condition: [B, K], condition of the branch. `None` builds a trunk without a condition.
        size: size of the trunk. For a `StackSize`, `stack` builds the trunk. For a `BranchSize`,
            `encoder_decoder` builds the trunk.

    Returns:
        features [B, H / stem_stride, W / stem_stride, D].
    """
    if isinstance(size, StackSize):
        return stack(features, condition, size=size)
    return encoder_decoder(features, condition, size=size)


def stack(features: tf.Tensor, condition: tf.Tensor | None, *, size: StackSize) -> tf.Tensor:
    """Build a stack of convolutions at one resolution, as in the DeepWarp paper.

    Two dense layers process the condition. The output of these layers is repeated at every pixel,
    and concatenated with the features before every convolution. Batch normalisation follows each
    convolution.

    Args:
        features: see `trunk`.
        condition: see `trunk`.
        size: size of the stack.

    Returns:
        features [B, H / stem_stride, W / stem_stride, size.widths[-1]].
    """
    if size.stem_stride == 2:
        features = keras.layers.AveragePooling2D(2, name="halved")(features)
    tiled = None if condition is None else _tiled(condition, features.shape[1:3])
    for level, (width, kernel) in enumerate(zip(size.widths, size.kernels, strict=True)):
        if tiled is not None:
            features = keras.layers.Concatenate(name=f"stack{level}_told")([features, tiled])
        features = keras.layers.Conv2D(
            width,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"stack{level}",
        )(features)
        features = batch_norm(f"stack{level}_norm")(features)
        features = keras.layers.ReLU(name=f"stack{level}_relu")(features)
    return features


def _tiled(condition: tf.Tensor, size_px: tuple[int, int]) -> tf.Tensor:
    for layer in range(2):
        condition = keras.layers.Dense(_EMBEDDING, activation="relu", name=f"embedding{layer}")(
            condition
        )
    everywhere = keras.layers.RepeatVector(size_px[0] * size_px[1], name="everywhere")(condition)
    return keras.layers.Reshape((*size_px, _EMBEDDING), name="tiled")(everywhere)


def encoder_decoder(
    features: tf.Tensor, condition: tf.Tensor | None, *, size: BranchSize
) -> tf.Tensor:
    """Build an encoder, residual blocks, and a decoder with skip connections.

    Args:
        features: [B, H, W, C].
        condition: [B, K], condition of the branch. The condition modulates (scales and shifts) the
            features of every encoder level and residual block. `None` means no modulation.
        size: size of the network.

    Returns:
        features [B, H / stem_stride, W / stem_stride, size.decoder[-1]].
    """
    skips = []
    for level, width in enumerate(size.widths):
        stride = 2 if level else size.stem_stride
        features = convolution(width, stride=stride, name=f"encode{level}")(features)
        features = _modulated(features, condition, name=f"encode{level}_condition")
        features = keras.layers.ReLU(name=f"encode{level}_relu")(features)
        skips.append(features)
    for block in range(size.blocks):
        features = _residual_block(features, condition, name=f"block{block}")
    for level, (width, skip) in enumerate(zip(size.decoder, reversed(skips[:-1]), strict=True)):
        features = Upsampled(name=f"decode{level}_up")(features)
        features = keras.layers.Concatenate(name=f"decode{level}_skip")([features, skip])
        features = convolution(width, name=f"decode{level}")(features)
        features = keras.layers.ReLU(name=f"decode{level}_relu")(features)
    return features


def _modulated(features: tf.Tensor, condition: tf.Tensor | None, *, name: str) -> tf.Tensor:
    return features if condition is None else Modulation(name=name)([features, condition])


def _residual_block(features: tf.Tensor, condition: tf.Tensor | None, *, name: str) -> tf.Tensor:
    width = features.shape[-1]
    inner = convolution(width, name=f"{name}_a")(features)
    inner = _modulated(inner, condition, name=f"{name}_condition")
    inner = keras.layers.ReLU(name=f"{name}_relu")(inner)
    inner = convolution(width, name=f"{name}_b")(inner)
    return keras.layers.Add(name=f"{name}_add")([features, inner])


def detailed(features: tf.Tensor, inputs: dict[str, tf.Tensor], *, size: BranchSize) -> tf.Tensor:
    """Combine features of the trunk and images into features [B, H, W, detail] at full resolution.

    A warp by a fraction of a pixel blurs the image. To sharpen the result, the branch needs the
    finest details of the original image. If the first level of the trunk has a stride, these
    details are lost. Therefore the images are used again here.

    With `size.by_blocks`, the result is [B, H / 2, W / 2, 4 detail]: the features of each block of
    2 x 2 pixels are stored as channels.
    """
    if size.by_blocks:
        pictures = [SpaceToDepth(name=f"detail_{name}")(inputs[name]) for name in ("coarse", "eye")]
        features = keras.layers.Concatenate(name="detail_pictures")([features, *pictures])
        features = convolution(4 * size.detail, name="detail")(features)
        return keras.layers.ReLU(name="detail_relu")(features)
    if size.stem_stride == 2:
        spread = keras.layers.Conv2D(4 * size.detail, 1, name="detail_spread")(features)
        features = DepthToSpace(name="detail_up")(spread)
    pictures = [inputs["coarse"], inputs["eye"]]
    features = keras.layers.Concatenate(name="detail_pictures")([features, *pictures])
    features = convolution(size.detail, name="detail")(features)
    return keras.layers.ReLU(name="detail_relu")(features)


FLOW_UNIT_PX = 4.0
"""The flow head (output layer) predicts the flow in this unit. Flows are a few pixels long. With
this unit, the weights of the head therefore stay near 1."""

_FIRST_FLOW_PX = 1e-3
"""The flow before training, in pixels. It is not exactly zero, because `dense_image_warp` has no
gradient with respect to the flow at integer positions."""


_HIDDEN = -3.0
"""The visibility of the second flow before training, before the sigmoid function. The result is
0.05."""


def layered_flow_head(features: tf.Tensor) -> tf.Tensor:
    """Build the layers that predict a flow of two layers from features at half of the resolution.

    The flow is [B, H, W, 2], in pixels of the patch.
    """
    first = [_FIRST_FLOW_PX / FLOW_UNIT_PX] * 2
    parts = keras.layers.Conv2D(
        8,
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=PerChannel([*first, *first, *[_HIDDEN] * 4]),
        dtype=EXACT,
        name="flow_head",
    )(features)
    return LayeredFlow(FLOW_UNIT_PX, dtype=EXACT, name="flow_layers")(parts)


def flow_head(features: tf.Tensor, *, stem_stride: int) -> tf.Tensor:
    """Build the layers that predict the flow from features.

    The flow is [B, H, W, 2], in pixels of the patch.
    """
    flow = keras.layers.Conv2D(
        2,
        3,
        padding="same",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(_FIRST_FLOW_PX / FLOW_UNIT_PX),
        dtype=EXACT,
        name="flow_head",
    )(features)
    flow = Scale(FLOW_UNIT_PX, dtype=EXACT, name="flow_px")(flow)
    if stem_stride == 2:
        flow = keras.layers.UpSampling2D(interpolation="bilinear", dtype=EXACT, name="flow_up")(
            flow
        )
    return flow


def picture_head(
    features: tf.Tensor,
    channels: int,
    *,
    stride: int,
    name: str,
    kernel_size: int = 3,
    initializer: str = "zeros",
    bias: Sequence[float] | None = None,
) -> tf.Tensor:
    """Build an output layer [B, H, W, channels] at full resolution.

    Args:
        features: [B, H / stride, W / stride, C].
        channels: number of output channels.
        stride: 1 or 2.
        name: name of the output.
        kernel_size: height and width of the kernel.
        initializer: initializer of the kernel.
        bias: initial bias of each channel. `None` means 0.
    """
    head = keras.layers.Conv2D(
        channels * stride**2,
        kernel_size,
        padding="same",
        kernel_initializer=initializer,
        bias_initializer=PerChannel([*(bias or [0.0] * channels)] * stride**2),
        dtype=EXACT,
        name=f"{name}_head",
    )(features)
    return DepthToSpace(dtype=EXACT, name=f"{name}_up")(head) if stride == 2 else head


EVERYTHING = ("gazemap", "delta", "head_pose")
"""The names of all conditioning inputs: the gaze map, the angle difference, and the head pose."""


def redirector_inputs(size_px: int) -> dict[str, tf.Tensor]:
    """Return the symbolic inputs `eye`, `gazemap`, `delta` and `head_pose`.

    ARCHITECTURE.md lists the shapes of the inputs.
    """
    return {
        "eye": keras.Input((size_px, size_px, 3), name="eye"),
        "gazemap": keras.Input((size_px, size_px, 2), name="gazemap"),
        "delta": keras.Input((2,), name="delta"),
        "head_pose": keras.Input((2,), name="head_pose"),
    }


def condition_of(
    inputs: dict[str, tf.Tensor], guidance: Iterable[str] = EVERYTHING
) -> tf.Tensor | None:
    """Concatenate the angle difference and the head pose to the condition [B, K].

    Only the selected inputs are used.

    Args:
        inputs: inputs of the redirector by name.
        guidance: names of the selected conditioning inputs.

    Returns:
        the condition, or `None` if `guidance` contains neither `delta` nor `head_pose`.
    """
    numbers = [inputs[name] for name in ("delta", "head_pose") if name in set(guidance)]
    if len(numbers) > 1:
        return keras.layers.Concatenate(name="condition")(numbers)
    return numbers[0] if numbers else None


def guided_picture(
    inputs: dict[str, tf.Tensor], pictures: Iterable[str], guidance: Iterable[str] = EVERYTHING
) -> tf.Tensor:
    """Concatenate images into one tensor [B, H, W, C]. Add the gaze map if it is selected.

    Args:
        inputs: inputs of the branch by name.
        pictures: names of the images.
        guidance: names of the selected conditioning inputs.
    """
    names = [*pictures, *(["gazemap"] if "gazemap" in set(guidance) else [])]
    if len(names) == 1:
        return inputs[names[0]]
    return keras.layers.Concatenate(name="guided_eye")([inputs[name] for name in names])

"""Build the gaze estimators and the discriminator.

Network units are angles in degrees, divided by the setting `gaze_scale_deg` of the conventions.

The estimator predicts the gaze on the device. In training, the losses use its features and its
angles. The judge is a second estimator with another architecture and another seed. All scores are
computed with the judge. The judge is never part of a loss.

The discriminator has a trunk (shared layers) and two heads (output layers). The first head predicts
a real/fake score for each region of the image [1]. The second head predicts the gaze. With this
head, the generator (the redirector) also gets an adversarial loss for the gaze angle.

References:
    [1] Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
        (patch discriminator).
    [2] Park et al., Learning to Find Eye Region Landmarks for Remote Gaze Estimation in
        Unconstrained Settings, ETRA 2018.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from mggr_tf.data.schema import STATES
from mggr_tf.models.blocks import ResumableDropout, batch_norm, convolution
from mggr_tf.models.precision import EXACT

_LEAST = 1e-6

FEATURES = ("features0", "features1", "features2")
"""The names of the estimator layers whose outputs perceptual losses compare."""


@keras.utils.register_keras_serializable("mggr_tf")
class EyeWindow(keras.layers.Layer):
    """Fades an eye patch to 0 (medium grey) outside a fixed ellipse around the eye.

    The window is 1 at the eye. It is 0 at the brow, the nose and the cheek. The ellipse is in the
    centre of the patch. If the patch is 64 pixels wide, the half axes are 26 and 14 pixels, and the
    edge is 6 pixels wide.

    Inputs:
        [B, H, W, C] in [-1, 1].

    Returns:
        [B, H, W, C] in [-1, 1].
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the window for the size of the patch."""
        self._window = _window(int(input_shape[1] or 0), int(input_shape[2] or 0))
        super().build(input_shape)

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Multiply by the window. See the class docstring."""
        return image * tf.constant(self._window, image.dtype)


def _window(height: int, width: int) -> NDArray[np.float32]:
    """Return the window of `EyeWindow`, [1, H, W, 1] in [0, 1]."""
    half_width, half_height, edge = np.array([26.0, 14.0, 6.0]) * width / 64
    across = (np.arange(width)[None] - (width - 1) / 2) / half_width
    down = (np.arange(height)[:, None] - (height - 1) / 2) / half_height
    radius = np.hypot(across, down)
    # To first order, the distance from the ellipse is (radius - 1) / slope of the radius.
    slope = np.hypot(across / half_width, down / half_height) / np.maximum(radius, _LEAST)
    beyond = (radius - 1) / np.maximum(slope, _LEAST)
    inside: NDArray[np.float32] = np.clip(0.5 - beyond / edge, 0, 1).astype(np.float32)
    return inside[None, ..., None]


def build_estimator(
    widths: tuple[int, ...],
    *,
    size_px: int,
    squeeze: int = 0,
    window: bool = False,
    state: bool = False,
) -> keras.Model:
    """Build the gaze estimator.

    The estimator consists of strided convolutions with batch normalisation, followed by dense
    layers. With `window`, the estimator sees the eye, but not the brow, the nose and the cheek. The
    appearance of brow, nose and cheek differs between synthetic and photographed people.

    Args:
        widths: number of channels of each level. Every level after the first level halves the size.
        size_px: height and width of the image.
        squeeze: number of output channels of a 1 x 1 convolution after the last level. With 0,
            there is no such convolution.
        window: whether the image is multiplied by `EyeWindow` first.
        state: whether the model also predicts the eye state.

    Returns:
        model with the inputs `eye` [B, H, W, 3] in [-1, 1] and `head_pose` [B, 2]. The output
        `gaze` [B, 2] is (pitch, yaw) in network units. With `state`, the model also has the output
        `state` [B, 3] in [0, 1], see `mggr_edge.models.network_io`.
    """
    eye = keras.Input((size_px, size_px, 3), name="eye")
    head_pose = keras.Input((2,), name="head_pose")
    features = EyeWindow(name="window")(eye) if window else eye
    for level, width in enumerate(widths):
        features = convolution(width, stride=2 if level else 1, name=f"conv{level}")(features)
        features = batch_norm(f"norm{level}")(features)
        features = keras.layers.ReLU(name=f"features{level}")(features)
    if squeeze:
        features = convolution(squeeze, size=1, name="squeeze")(features)
        features = batch_norm("squeeze_norm")(features)
        features = keras.layers.ReLU(name="squeezed")(features)
    flat = keras.layers.Flatten(name="flatten")(features)
    flat = ResumableDropout(0.3, seed=11, name="dropout")(flat)
    hidden = keras.layers.Dense(64, activation="relu", name="hidden")(flat)
    inputs = {"eye": eye, "head_pose": head_pose}
    outputs = {"gaze": _gaze(hidden, head_pose)}
    if state:
        outputs["state"] = _state(hidden)
    return keras.Model(inputs, outputs, name="estimator")


def with_landmarks(estimator: keras.Model, count: int) -> keras.Model:
    """Add an output of landmarks to the estimator, for training only.

    The landmarks are an additional training task [2]. The landmark output is not exported.

    Args:
        estimator: model of `build_estimator`.
        count: number of landmarks.

    Returns:
        model with the inputs, the layers and the outputs of the estimator. It also has the output
        `landmarks` [B, count, 2]. The values are (x, y) relative to the centre of the patch. The
        unit is an eighth of the patch width.
    """
    hidden = estimator.get_layer("hidden").output
    points = keras.layers.Dense(2 * count, name="landmarks")(hidden)
    points = keras.layers.Reshape((count, 2), name="landmark_points")(points)
    outputs = {**estimator.output, "landmarks": points}
    return keras.Model(estimator.inputs, outputs, name="taught_estimator")


def build_judge(width: int, *, size_px: int) -> keras.Model:
    """Build the judge, the estimator that computes the scores.

    The judge and the estimator have very different architectures. The judge has large kernels, ELU
    activations, and residual stages.

    Args:
        width: number of channels of the first level. Each later level has twice as many channels as
            the level before.
        size_px: height and width of the image.

    Returns:
        model with the inputs of the estimator. Its only output is `gaze`.
    """
    eye = keras.Input((size_px, size_px, 3), name="eye")
    head_pose = keras.Input((2,), name="head_pose")
    features = convolution(width, size=7, stride=2, name="stem")(eye)
    features = keras.layers.Activation("elu", name="stem_elu")(features)
    for level in range(3):
        channels = width * 2**level
        inner = keras.layers.LayerNormalization(name=f"norm{level}")(features)
        inner = convolution(channels, size=5, name=f"inner{level}")(inner)
        inner = keras.layers.Activation("elu", name=f"inner{level}_elu")(inner)
        inner = convolution(features.shape[-1], name=f"outer{level}")(inner)
        features = keras.layers.Add(name=f"add{level}")([features, inner])
        features = convolution(2 * channels, stride=2, name=f"down{level}")(features)
        features = keras.layers.Activation("elu", name=f"down{level}_elu")(features)
    flat = keras.layers.Flatten(name="flatten")(features)
    flat = ResumableDropout(0.5, seed=23, name="dropout")(flat)
    hidden = keras.layers.Dense(48, activation="elu", name="hidden")(flat)
    inputs = {"eye": eye, "head_pose": head_pose}
    return keras.Model(inputs, {"gaze": _gaze(hidden, head_pose)}, name="judge")


def _gaze(hidden: tf.Tensor, head_pose: tf.Tensor) -> tf.Tensor:
    # The kernel starts at zero. A head angle that is constant in training therefore has no
    # influence (see `Modulation`).
    head = keras.layers.Dense(
        hidden.shape[-1],
        use_bias=False,
        kernel_initializer="zeros",
        dtype=EXACT,
        name="head_pose_dense",
    )(head_pose)
    joined = keras.layers.Add(dtype=EXACT, name="joined")([hidden, head])
    joined = keras.layers.Dense(32, activation="relu", dtype=EXACT, name="mixed")(joined)
    return keras.layers.Dense(2, dtype=EXACT, name="gaze")(joined)


def _state(hidden: tf.Tensor) -> tf.Tensor:
    inner = keras.layers.Dense(32, activation="relu", dtype=EXACT, name="state_hidden")(hidden)
    # The sigmoid is a separate layer. In an int8 file, it can therefore stay a float operation.
    values = keras.layers.Dense(len(STATES), dtype=EXACT, name="state_logits")(inner)
    return keras.layers.Activation("sigmoid", dtype=EXACT, name="state")(values)


def build_discriminator(widths: tuple[int, ...], *, size_px: int) -> keras.Model:
    """Build the discriminator.

    Args:
        widths: number of channels of each level. Every level halves the size.
        size_px: height and width of the image.

    Returns:
        model with the input `eye` [B, H, W, 3] in [-1, 1]. The output `realness` [B, h, w, 1] is a
        score. A positive score means a real image. The output `gaze` [B, 2] is in network units.
    """
    eye = keras.Input((size_px, size_px, 3), name="eye")
    features = eye
    for level, width in enumerate(widths):
        features = convolution(width, stride=2, size=4, name=f"level{level}")(features)
        features = keras.layers.LeakyReLU(0.2, name=f"level{level}_relu")(features)
    realness = keras.layers.Conv2D(1, 3, padding="same", dtype=EXACT, name="realness")(features)
    flat = keras.layers.Flatten(name="flatten")(features)
    gaze = keras.layers.Dense(2, dtype=EXACT, name="gaze")(flat)
    return keras.Model(eye, {"realness": realness, "gaze": gaze}, name="discriminator")

"""The frozen network whose feature maps perceptual losses compare.

The run's own gaze estimator, or a network that has seen ImageNet (`stlpips.py`,
`vgg16.py`); the estimator says where the eye looks either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tensorflow import keras

from mggr_tf.models.estimator import FEATURES


def estimator_features(estimator: keras.Model) -> keras.Model:
    """The estimator with its inner layers laid open.

    Returns:
        model of eye and head_pose; outputs a dict of feature maps and `gaze`.
    """
    layers = {name: estimator.get_layer(name).output for name in FEATURES}
    return keras.Model(estimator.inputs, {**layers, "gaze": estimator.output})


def with_gaze(features: keras.Model, estimator: keras.Model) -> keras.Model:
    """Another network's feature maps, and the estimator's `gaze`.

    Args:
        features: model of eye [B, H, W, 3] in [-1, 1]; outputs a dict of feature maps.

    Returns:
        model of eye and head_pose; outputs the dict, and `gaze`.
    """
    eye, head_pose = estimator.inputs
    as_float32 = keras.layers.Activation("linear", dtype="float32", name="as_float32")
    maps = {name: as_float32(value) for name, value in features(eye).items()}
    return keras.Model(estimator.inputs, {**maps, "gaze": estimator([eye, head_pose])})


@contextmanager
def computing_in(precision: Literal["float32", "bfloat16"]) -> Iterator[None]:
    """Layers made inside compute in this precision; their weights stay float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(
        "mixed_bfloat16" if precision == "bfloat16" else "float32"
    )
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)

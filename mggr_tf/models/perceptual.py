"""The frozen network whose feature maps perceptual losses compare.

The run's own gaze estimator, or a network that has seen ImageNet (`stlpips.py`,
`vgg16.py`).
"""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.models.critics import FEATURES


def estimator_features(estimator: keras.Model) -> keras.Model:
    """The estimator with its inner layers laid open.

    Returns:
        model of eye and head_pose; outputs a dict of feature maps.
    """
    layers = {name: estimator.get_layer(name).output for name in FEATURES}
    return keras.Model(estimator.inputs, layers, name="estimator_features")

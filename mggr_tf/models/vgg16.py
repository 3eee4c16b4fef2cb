"""VGG-16's feature maps, as the paper's perceptual and style losses compare them.

Its ImageNet weights come with no package: the user names a file.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from mggr_edge.errors import RunError

VGG16_FEATURES = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
"""relu1_2, relu2_2, relu3_3 and relu4_3 of Johnson, Alahi, Fei-Fei, ECCV 2016."""

_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.utils.register_keras_serializable("mggr_tf")
class VGG16Input(keras.layers.Layer):
    """RGB in [-1, 1] to what Keras' VGG-16 was trained on: BGR levels less ImageNet's mean.

    Inputs:
        [B, H, W, 3] float32 in [-1, 1].

    Returns:
        [B, H, W, 3] float32.
    """

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Converts; see the class."""
        return (image[..., ::-1] + 1.0) * 127.5 - tf.constant(_IMAGENET_MEAN_BGR, image.dtype)


def build_vgg16_features(weights: Path) -> keras.Model:
    """Builds VGG-16 up to relu4_3.

    Args:
        weights: Keras' VGG-16 weights without its dense layers, `.h5`.

    Returns:
        model of eye [B, H, W, 3] in [-1, 1]; outputs a dict of the `VGG16_FEATURES`.

    Raises:
        RunError: the file is missing, or holds other weights.
    """
    try:
        vgg = keras.applications.VGG16(include_top=False, weights=None)
        vgg.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{weights}: no weights of VGG-16 without its dense layers (.h5): {error}"
        ) from error
    inner = keras.Model(vgg.input, {name: vgg.get_layer(name).output for name in VGG16_FEATURES})
    eye = keras.Input((None, None, 3), name="eye")
    return keras.Model(eye, inner(VGG16Input(name="to_vgg")(eye)), name="vgg16_features")

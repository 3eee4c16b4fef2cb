"""Multi-task discriminator: is this eye real, and where does it look?

One trunk, two heads: a patch-wise real/fake score [1] and a gaze regression,
which gives the generator an adversary's opinion of the angle too.

References:
    [1] Isola et al., Image-to-Image Translation with Conditional Adversarial
        Networks, CVPR 2017 (patch discriminator).
"""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.models.blocks import convolution
from mggr_tf.models.precision import EXACT


def build_discriminator(widths: tuple[int, ...], *, size_px: int) -> keras.Model:
    """Builds the discriminator.

    Args:
        widths: channels of each level; every level halves the size.
        size_px: height and width of the picture.

    Returns:
        model of eye [B, H, W, 3] in [-1, 1]; outputs a dict of `realness`
        [B, h, w, 1] (a score, + is real) and `gaze` [B, 2] (network units).
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

"""The rival that speed is measured against."""

from __future__ import annotations

from tensorflow import keras

from mggr_tf.config.files import load_config
from mggr_tf.models.prgan import build_generator

_CONFIG = "prgan-paper"


def prgan_generator() -> keras.Model:
    """PRGAN's generator at its published size, 8.42 M parameters and 2.45 GMAC, untrained."""
    config = load_config(_CONFIG)
    size = config.models.generator
    assert size is not None
    return build_generator(
        size, size_px=config.conventions.patch_size, guidance=config.models.guidance
    )

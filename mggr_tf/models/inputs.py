"""The redirector's inputs, under the names that they keep down to the device."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras


def redirector_inputs(size_px: int) -> dict[str, tf.Tensor]:
    """Symbolic inputs: eye, gazemap, delta, head_pose (shapes in ARCHITECTURE.md)."""
    return {
        "eye": keras.Input((size_px, size_px, 3), name="eye"),
        "gazemap": keras.Input((size_px, size_px, 2), name="gazemap"),
        "delta": keras.Input((2,), name="delta"),
        "head_pose": keras.Input((2,), name="head_pose"),
    }


def condition_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """The numeric guidance [B, 4]: angle difference and head pose."""
    return keras.layers.Concatenate(name="condition")([inputs["delta"], inputs["head_pose"]])

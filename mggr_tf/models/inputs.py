"""The redirector's inputs, under the names that they keep down to the device."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow import keras

EVERYTHING = ("gazemap", "delta", "head_pose")
"""All guidance there is: the picture, and the two numbers."""


def redirector_inputs(size_px: int) -> dict[str, tf.Tensor]:
    """Symbolic inputs: eye, gazemap, delta, head_pose (shapes in ARCHITECTURE.md)."""
    return {
        "eye": keras.Input((size_px, size_px, 3), name="eye"),
        "gazemap": keras.Input((size_px, size_px, 2), name="gazemap"),
        "delta": keras.Input((2,), name="delta"),
        "head_pose": keras.Input((2,), name="head_pose"),
    }


def condition_of(
    inputs: dict[str, tf.Tensor], guidance: Iterable[str] = EVERYTHING
) -> tf.Tensor | None:
    """The numeric guidance [B, K]: angle difference and head pose, or what is left of them.

    Returns:
        None when `guidance` holds no numbers.
    """
    numbers = [inputs[name] for name in ("delta", "head_pose") if name in set(guidance)]
    if len(numbers) > 1:
        return keras.layers.Concatenate(name="condition")(numbers)
    return numbers[0] if numbers else None


def guided_picture(
    inputs: dict[str, tf.Tensor], pictures: Iterable[str], guidance: Iterable[str] = EVERYTHING
) -> tf.Tensor:
    """Pictures and the pictorial guidance as one [B, H, W, C]."""
    names = [*pictures, *(["gazemap"] if "gazemap" in set(guidance) else [])]
    if len(names) == 1:
        return inputs[names[0]]
    return keras.layers.Concatenate(name="guided_eye")([inputs[name] for name in names])

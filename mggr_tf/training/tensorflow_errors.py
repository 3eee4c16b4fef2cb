"""What TensorFlow's errors say, without where in a graph it was."""

from __future__ import annotations

import tensorflow as tf

_LONGEST = 200
_WHERE = ("Graph execution error", "Detected at node", "  File ", "Node: ", "\t [[")
"""How lines begin that say where."""


def plain_reason(error: tf.errors.OpError) -> str:
    """The first line that says why."""
    lines = [line for line in error.message.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_WHERE)]
    return (reasons or lines or [type(error).__name__])[0].strip()[:_LONGEST]

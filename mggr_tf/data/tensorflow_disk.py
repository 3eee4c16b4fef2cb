"""What TensorFlow says of a file that it could not write, in a few words."""

from __future__ import annotations

import re

import tensorflow as tf

_OF_THE_OP = re.compile(r"^\{\{.*?\}\} *| *\[Op:\w+\].*$")


def disk_reason(error: tf.errors.OpError) -> str:
    """`{{function_node F}} FILE; No space left on device [Op:SaveV2]` as `FILE: no space ...`.

    Example:
        >>> said = "{{function_node W}} run/log; No space left on device\\n\\tFailed to flush"
        >>> disk_reason(tf.errors.ResourceExhaustedError(None, None, said))
        'run/log: no space left on device'
    """
    text = _OF_THE_OP.sub("", error.message.splitlines()[0])
    file, semicolon, reason = text.rpartition("; ")
    return f"{file}: {reason.lower()}" if semicolon else text

"""What a step is given, and what it says."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

Batch = Mapping[str, tf.Tensor]
"""Tensors of a batch by name (see `mggr_tf.data.pairs.pair_dataset`)."""

Metrics = dict[str, tf.Tensor]


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """A batch cut into as many of equal size."""
    if count == 1:
        return [batch]
    cut = {name: tf.split(value, count) for name, value in batch.items()}
    return [{name: values[i] for name, values in cut.items()} for i in range(count)]

"""Reads any record of a pack inside a TensorFlow graph, and notices when it is corrupt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_tf.data.packed.index import PackIndex


class Records:
    """A pack's records by their number.

    Args:
        index: of the pack.
    """

    def __init__(self, index: PackIndex) -> None:
        self._files = tf.constant([str(index.path / shard.file) for shard in index.about.shards])
        self._shards = tf.constant(np.ascontiguousarray(index.records["shard"]))
        self._offsets = tf.constant(np.ascontiguousarray(index.records["offset"]))

    def read(self, number: tf.Tensor) -> tf.Tensor:
        """[] string, a record's bytes; empty where their checksum is wrong, or they are gone."""
        # The reader of TFRecords checks the CRC32C that stands behind every record.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=[tf.gather(self._files, tf.gather(self._shards, number))],
            compression_type="",
            buffer_size=0,
            byte_offsets=[tf.gather(self._offsets, number)],
        )
        found = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
        corrupt = tf.data.Dataset.from_tensors("")
        one = found.take(1).ignore_errors(log_warning=False).concatenate(corrupt).take(1)
        return one.get_single_element()

    def read_all(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Reads so many records outside a graph, a few ahead: (number, bytes)."""
        wanted = tf.data.Dataset.from_tensor_slices(numbers)
        found = wanted.map(self.read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        for number, data in zip(numbers, found.as_numpy_iterator(), strict=True):
            yield int(number), data

"""Encode and decode the chunks of a pack, and read records by their number.

A chunk is a set of up to 32 patches of one subject, side and head pose. A record stores one chunk
in a file of the pack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Side
from mggr_tf.data.packed.index import PackIndex


@dataclass(frozen=True)
class Chunk:
    """The content of one record. A chunk contains at least two patches.

    Attributes:
        images: [N, S, S, 3] uint8 RGB, canonical side.
        gaze_deg, head_deg: [N, 2] float32, (pitch, yaw) in degrees. The axes are those of the patch
            after mirroring.
        numbers: [N] int64, positions of the patches in the source.
        subject: name of the subject.
        side: side of the eye from the subject's point of view, before mirroring.
        group: number of the group in the pack. A group is a combination of subject, side and head
            pose.
    """

    images: NDArray[np.uint8]
    gaze_deg: NDArray[np.float32]
    head_deg: NDArray[np.float32]
    numbers: NDArray[np.int64]
    subject: str
    side: Side
    group: int

    def __len__(self) -> int:
        return len(self.numbers)

    def without_images(self) -> Chunk:
        """Return a copy without images, to save memory."""
        return replace(self, images=self.images[:0])

    def to_bytes(self) -> bytes:
        """Convert the chunk to a serialised `tf.train.Example`. Equal chunks give equal bytes."""
        feature = {
            "pixels": _bytes(self.images.tobytes()),
            "gaze_deg": _floats(self.gaze_deg),
            "head_deg": _floats(self.head_deg),
            "numbers": _integers(self.numbers),
            "subject": _bytes(self.subject.encode()),
            "side": _bytes(self.side.encode()),
            "group": _integers([self.group]),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        serialised: bytes = example.SerializeToString(deterministic=True)
        return serialised

    @classmethod
    def from_bytes(cls, data: bytes) -> Chunk:
        """Parse the result of `to_bytes`."""
        feature = tf.train.Example.FromString(data).features.feature
        numbers = np.asarray(feature["numbers"].int64_list.value, np.int64)
        pixels = np.frombuffer(feature["pixels"].bytes_list.value[0], np.uint8)
        size = round((len(pixels) // 3 // len(numbers)) ** 0.5)
        return cls(
            images=pixels.reshape(-1, size, size, 3),
            gaze_deg=np.asarray(feature["gaze_deg"].float_list.value, np.float32).reshape(-1, 2),
            head_deg=np.asarray(feature["head_deg"].float_list.value, np.float32).reshape(-1, 2),
            numbers=numbers,
            subject=feature["subject"].bytes_list.value[0].decode(),
            side="left" if feature["side"].bytes_list.value[0] == b"left" else "right",
            group=feature["group"].int64_list.value[0],
        )


def chunk_tensors(data: tf.Tensor, *, room: int, size: int) -> dict[str, tf.Tensor]:
    """Parse a chunk inside the TensorFlow graph.

    Args:
        data: bytes of a chunk, as a string scalar.
        room: number of patches in the result. A smaller chunk is padded with zeros.
        size: width and height of a patch in pixels.

    Returns:
        `images` [room, size, size, 3] uint8, `gaze_deg` and `head_deg` [room, 2] float32, and
        `count` [] int32. `count` is the number of patches without padding.
    """
    angles = tf.io.FixedLenSequenceFeature([2], tf.float32, allow_missing=True)
    parsed = tf.io.parse_single_example(
        data,
        {
            "pixels": tf.io.FixedLenFeature([], tf.string),
            "gaze_deg": angles,
            "head_deg": angles,
        },
    )
    images = tf.reshape(tf.io.decode_raw(parsed["pixels"], tf.uint8), [-1, size, size, 3])
    gaze, head = parsed["gaze_deg"], parsed["head_deg"]
    return {
        "images": _filled(images, [room, size, size, 3]),
        "gaze_deg": _filled(gaze, [room, 2]),
        "head_deg": _filled(head, [room, 2]),
        "count": tf.shape(gaze)[0],
    }


def _filled(values: tf.Tensor, shape: list[int]) -> tf.Tensor:
    missing = shape[0] - tf.shape(values)[0]
    padded = tf.pad(values, [[0, missing]] + [[0, 0]] * (len(shape) - 1))
    return tf.ensure_shape(padded, shape)


def _bytes(value: bytes) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _floats(values: NDArray[np.float32]) -> Any:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values.ravel().tolist()))


def _integers(values: Any) -> Any:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=list(values)))


class Records:
    """Reads the records of a pack by their numbers.

    Args:
        index: index of the pack.
    """

    def __init__(self, index: PackIndex) -> None:
        self._files = tf.constant([str(index.path / shard.file) for shard in index.about.shards])
        self._shards = tf.constant(np.ascontiguousarray(index.records["shard"]))
        self._offsets = tf.constant(np.ascontiguousarray(index.records["offset"]))

    def read(self, number: tf.Tensor) -> tf.Tensor:
        """Return the bytes of a record, as a string scalar.

        If the record is corrupt or missing, the string is empty.
        """
        # The TFRecord reader checks the CRC32C checksum of every record.
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
        """Read records outside a TensorFlow graph, and yield (number, bytes).

        While the caller processes a record, the next records are read.
        """
        wanted = tf.data.Dataset.from_tensor_slices(numbers)
        found = wanted.map(self.read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        for number, data in zip(numbers, found.as_numpy_iterator(), strict=True):
            yield int(number), data

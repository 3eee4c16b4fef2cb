"""Chunks of a pack: the records in them, and damaged ones."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.errors import DataError
from mggr_edge.geometry.angles import Side
from mggr_tf.data.packed.index import PackIndex


@dataclass(frozen=True)
class Chunk:
    """What one record holds; two patches at least.

    Attributes:
        images: [N, S, S, 3] uint8 RGB, canonical side.
        gaze_deg, head_deg: [N, 2] float32, (pitch, yaw), as seen in the (mirrored) patch.
        numbers: [N] int64, the patches' places in the source.
        subject: whose eye it is.
        side: the subject's own, before mirroring.
        group: number of the subject, side and head pose in the pack.
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
        """The labels alone, which take next to no memory."""
        return replace(self, images=self.images[:0])

    def to_bytes(self) -> bytes:
        """A serialised `tf.train.Example`; equal bytes for equal chunks."""
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
        """Reads what `to_bytes` wrote."""
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
    """What pairs are drawn of, inside a graph.

    Args:
        data: [] string, a chunk's bytes.
        room: patches that every chunk is filled up to, with zeros.
        size: pixels of a patch's side.

    Returns:
        images [room, size, size, 3] uint8, gaze_deg and head_deg [room, 2] float32, and
        count [] int32, how many of them are patches.
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


_NAMED = 5


class CorruptRecords:
    """Keeps account of a pack's corrupt records. Reading threads share it.

    Args:
        index: of the pack.
        limit: one more than so many is too many.
        notify: called once for each.
    """

    def __init__(self, index: PackIndex, *, limit: int, notify: Callable[[str], None]) -> None:
        self._index, self._limit, self._notify = index, limit, notify
        self._found: set[int] = set()
        self._lock = threading.Lock()
        self.failure: DataError | None = None

    def __len__(self) -> int:
        return len(self._found)

    def note(self, number: int) -> None:
        """Takes a corrupt record down.

        Raises:
            DataError: it is one too many; `failure` keeps it for the code that sees
                TensorFlow's error only.
        """
        with self._lock:
            if number not in self._found:
                self._found.add(number)
                self._notify(
                    f"{self._index.path}: {self._index.name_of(number)} is corrupt and left out "
                    f"({len(self._found)} so far, packed.corrupt_limit is {self._limit})"
                )
            if len(self._found) > self._limit:
                raise self.failed()

    def failed(self) -> DataError:
        """The error that ends a training, of what was found so far."""
        names = [self._index.name_of(number) for number in sorted(self._found)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        check = shlex.join(["mggr-tf", "data", "check", str(self._index.path)])
        self.failure = DataError(
            f"{self._index.path}: too many corrupt records ({len(names)}, packed.corrupt_limit is "
            f"{self._limit}): {', '.join(names[:_NAMED])}{more}; pack the source again, or copy "
            f"the pack again (`{check}` lists all of them)"
        )
        return self.failure

"""A chunk, some patches of one subject, side and head pose, as the bytes of a record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Side


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

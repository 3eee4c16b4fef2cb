"""Write one shard of a pack. If the shard is already complete, keep it.

A shard is a file that contains many records. A record stores one chunk, a small set of patches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.errors import ConfigError, DiskError
from mggr_tf.data.listing import BadPatch, Entry, ReadEntry
from mggr_tf.data.packed.chunk import Chunk
from mggr_tf.data.packed.index import NO_PARTNER, LeftOut, Shard, sha256_of
from mggr_tf.data.packed.plan import Plan, PlannedChunk
from mggr_tf.data.processes import disk_reason
from mggr_tf.data.schema import make_samples

_FRAME_BYTES = 8 + 4, 4
"""The number of bytes that a TFRecord adds before and after the data. The bytes before the data are
the length and a checksum of the length. The bytes after the data are a checksum of the data."""


@dataclass(frozen=True)
class Order:
    """A shard to write.

    Attributes:
        plan: plan of the pack. The plan defines which patches the shard contains.
        number: number of the shard.
        folder: folder to write the shard to.
        notes: folder for the note, a JSON file that describes the shard during packing.
        read: function that reads a patch of the source.
    """

    plan: Plan
    number: int
    folder: Path
    notes: Path
    read: ReadEntry

    @property
    def file(self) -> Path:
        """The path of the shard."""
        return self.folder / f"shard-{self.number:05d}.tfrecord"

    @property
    def note_file(self) -> Path:
        """The path of the note. The note is deleted when the pack is complete."""
        return self.notes / f"shard-{self.number:05d}.json"


@dataclass(frozen=True)
class RecordNote:
    """The offset of a record in the shard, and a description of its content."""

    offset: int
    patches: int
    subject: str
    group: int


@dataclass(frozen=True)
class ShardNote:
    """The description of a shard that was written.

    Attributes:
        digest: SHA-256 of all inputs of the shard. If this digest differs from the digest of the
            plan, the shard is outdated.
        shard: name, checksum and size of the file.
        records: records in the order of the file.
        left_out: patches that were planned for the shard but are not in the shard.
    """

    digest: str
    shard: Shard
    records: tuple[RecordNote, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Outcome:
    """The result of writing a shard.

    Attributes:
        planned: number of patches that the plan assigns to the shard.
        kept: whether an earlier run had already written the complete shard.
        fatal: patches that do not match the expected format. If this tuple is not empty, the shard
            was not written, and the whole source is rejected.
    """

    planned: int
    kept: bool = False
    fatal: tuple[LeftOut, ...] = ()


def write_shard(order: Order) -> Outcome:
    """Write a shard and its note. If both files exist and are up to date, do nothing."""
    digest = order.plan.digest(order.number)
    note = read_note(order.note_file)
    if note is not None and note.digest == digest and _is_whole(order.file, note.shard):
        return Outcome(_planned(note), kept=True)
    order.note_file.unlink(missing_ok=True)
    temporary = order.file.with_suffix(f".part-{os.getpid()}")
    try:
        written = _write(temporary, order)
        fatal = tuple(one for one in written.left_out if one.fatal)
        if fatal:
            return Outcome(_planned(written), fatal=fatal)
        os.replace(temporary, order.file)
    finally:
        temporary.unlink(missing_ok=True)
    _write_note(order.note_file, written)
    return Outcome(_planned(written))


def read_note(file: Path) -> ShardNote | None:
    """Return the note of a shard. If the note is missing or cannot be read, return `None`."""
    try:
        return read(ShardNote, read_json(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, ConfigError):
        return None


def _planned(note: ShardNote) -> int:
    return sum(one.patches for one in note.records) + len(note.left_out)


def _is_whole(file: Path, shard: Shard) -> bool:
    return file.is_file() and file.stat().st_size == shard.size and sha256_of(file) == shard.sha256


def _write(temporary: Path, order: Order) -> ShardNote:
    records: list[RecordNote] = []
    left_out: list[LeftOut] = []
    offset = 0
    with _disk_errors(), tf.io.TFRecordWriter(str(temporary)) as writer:
        for chunk in _chunks(order, left_out):
            data = chunk.to_bytes()
            writer.write(data)
            records.append(RecordNote(offset, len(chunk), chunk.subject, chunk.group))
            offset += len(data) + sum(_FRAME_BYTES)
    _sync(temporary)
    shard = Shard(order.file.name, sha256_of(temporary), offset, len(records))
    assert temporary.stat().st_size == offset, "unexpected size of a TFRecord file"
    digest = order.plan.digest(order.number)
    return ShardNote(digest, shard, tuple(records), tuple(left_out))


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Convert TensorFlow errors to `DiskError`.

    In this context, TensorFlow only writes a file. Every error is therefore a disk error.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = disk_reason(error)
        raise DiskError(reason, code="shard-not-written", reason=reason) from error


def _chunks(order: Order, left_out: list[LeftOut]) -> Iterator[Chunk]:
    for planned in order.plan.chunks_of(order.number):
        good = list(_good(planned, order, left_out))
        if len(good) > 1:
            yield _chunk(good, planned.group)
        left_out += [
            LeftOut(number, _name(entry, order), _within(entry), NO_PARTNER)
            for entry, number, _ in good
            if len(good) == 1
        ]


_Found = tuple[Entry, int, np.ndarray]


def _good(planned: PlannedChunk, order: Order, left_out: list[LeftOut]) -> Iterator[_Found]:
    for entry, number in zip(planned.entries, planned.numbers, strict=True):
        found = order.read(entry)
        if isinstance(found, BadPatch):
            name = _name(entry, order)
            left_out.append(LeftOut(number, name, found.within, found.reason, found.fatal))
        else:
            yield entry, number, found


def _chunk(good: list[_Found], group: int) -> Chunk:
    labels = [entry.label for entry, _, _ in good]
    gazes = [label.gaze for label in labels if label.gaze is not None]
    samples = make_samples(
        np.stack([image for _, _, image in good]),
        gaze_deg=np.stack([gaze.array() for gaze in gazes]),
        head_deg=np.stack([label.head.array() for label in labels]),
        sides=[label.side for label in labels],
        subjects=[label.subject for label in labels],
        source="",
        licence="",
    )
    return Chunk(
        images=samples.images,
        gaze_deg=samples.gaze_deg,
        head_deg=samples.head_deg,
        numbers=np.asarray([number for _, number, _ in good], np.int64),
        subject=labels[0].subject,
        side=labels[0].side,
        group=group,
    )


def _name(entry: Entry, order: Order) -> str:
    return str(entry.file.relative_to(order.plan.source))


def _within(entry: Entry) -> str:
    return f"{entry.label.side} {entry.number}" if entry.number else ""


def _write_note(file: Path, note: ShardNote) -> None:
    with atomic_file(file, force=True) as temporary:
        temporary.write_text(json.dumps(plain(note)), encoding="utf-8")


def _sync(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())

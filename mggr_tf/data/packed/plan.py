"""Plan a pack: assign the patches (images of one eye) of a source to chunks.

The plan is a database on disk. The memory use therefore does not grow with the number of patches.

Training combines two patches of one chunk into a pair. All patches of a chunk therefore belong to
one group: they have the same subject, side and head pose. A large group is divided into several
chunks of about the same size.

Before this division, the patches of a group are put into a fixed pseudo-random order. The reason is
that neighbouring patches of a source are often consecutive video frames. The pairs in a chunk of
consecutive frames would differ too little.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from mggr_edge.common.progress import Advance
from mggr_edge.geometry.angles import Gaze
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing, refuse_fatal, refuse_unlabelled
from mggr_tf.data.packed.index import NO_PARTNER, SCHEMA, LeftOut
from mggr_tf.data.schema import pose_bins

CHUNK_PATCHES = 32
"""The maximum number of patches in a chunk. One chunk has enough space for the 21 gazes of a
Columbia head pose. A record (a stored chunk) has at most 0.4 MB."""
SHARD_CHUNKS = 512

_AT_ONCE = 4096
_TABLES = """
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE listed (
    number INTEGER PRIMARY KEY, subject TEXT, side TEXT, bin_pitch INTEGER, bin_yaw INTEGER,
    disorder INTEGER, file BLOB, within INTEGER, angles BLOB, size INTEGER, mtime_ns INTEGER);
CREATE TABLE left_out (number INTEGER PRIMARY KEY, file BLOB, within TEXT, reason TEXT);
CREATE TABLE placed (chunk INTEGER, number INTEGER, grp INTEGER, PRIMARY KEY (chunk, number))
    WITHOUT ROWID;
"""
_GROUP = "subject, side, bin_pitch, bin_yaw"
_PLACED = f"""
SELECT chunk, grp, {_GROUP}, number, file, within, angles, size, mtime_ns
FROM placed JOIN listed USING (number)
WHERE chunk >= ? AND chunk < ? ORDER BY chunk, number
"""
_ANGLES = struct.Struct("<4d")
"""The format in which angles are stored. A numeric column would lose the sign of -0."""
_GOLDEN = 2654435761
"""2^32 divided by the golden ratio. Consecutive multiples of this number, modulo 2^32, are far
apart. Therefore neighbouring patches of the source get different positions in the pseudo-random
order."""


@dataclass(frozen=True)
class PlannedChunk:
    """The patches that one record will contain.

    Attributes:
        group: number of the group (combination of subject, side and head pose). The numbers have
            the sorted order of the groups.
        entries: entries of the patches, in the order of the source.
        numbers: positions of the patches in the source.
    """

    group: int
    entries: tuple[Entry, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The plan of a pack. It assigns patches to chunks, and chunks to shards (files).

    Attributes:
        file: path of the database.
        source: folder of the patches.
        chunks: number of chunks.
        chunk_patches: maximum number of patches in a chunk.
        shard_chunks: maximum number of chunks in a shard.
        patches: number of patches in all chunks.
    """

    file: Path
    source: Path
    chunks: int
    chunk_patches: int
    shard_chunks: int
    patches: int

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.chunks // self.shard_chunks)

    def digest(self, shard: int) -> str:
        """Return the SHA-256 of all inputs of a shard.

        The inputs are the labels of the patches, their positions in the plan, and their files. A
        file is represented by its path, its size and its modification time.
        """
        digest = hashlib.sha256(f"schema {SCHEMA}\n".encode())
        for row in self._rows(shard):
            digest.update(repr(row).encode())
        return digest.hexdigest()

    def chunks_of(self, shard: int) -> Iterator[PlannedChunk]:
        """Yield the chunks of a shard, in order."""
        for _, rows in groupby(self._rows(shard), key=lambda row: row[0]):
            yield self._chunk(list(rows))

    def left_out(self) -> tuple[LeftOut, ...]:
        """Return the patches that are in no chunk, in the order of the source."""
        with _opened(self.file) as database:
            found = database.execute("SELECT * FROM left_out ORDER BY number")
            return tuple(
                LeftOut(number, os.fsdecode(file), within, reason)
                for number, file, within, reason in found
            )

    def _rows(self, shard: int) -> Iterator[tuple]:
        first = shard * self.shard_chunks
        with _opened(self.file) as database:
            yield from database.execute(_PLACED, (first, first + self.shard_chunks))

    def _chunk(self, rows: list[tuple]) -> PlannedChunk:
        return PlannedChunk(
            group=rows[0][1],
            entries=tuple(self._entry(row) for row in rows),
            numbers=tuple(row[6] for row in rows),
        )

    def _entry(self, row: tuple) -> Entry:
        _, _, subject, side, _, _, _, file, within, angles, _, _ = row
        gaze_pitch, gaze_yaw, *head_deg = _ANGLES.unpack(angles)
        gaze, head = Gaze(gaze_pitch, gaze_yaw), Gaze(*head_deg)
        label = EyeLabel(subject, side, head=head, gaze=gaze)
        return Entry(self.source / os.fsdecode(file), label, within)


def make_plan(
    file: Path,
    listing: Listing,
    *,
    source: Path,
    advance: Advance,
    chunk_patches: int = CHUNK_PATCHES,
    shard_chunks: int = SHARD_CHUNKS,
) -> Plan:
    """Plan the chunks of a source. No images are read.

    Args:
        file: path of the database to write. An existing file is replaced.
        listing: listing of the source.
        source: folder of the source.
        advance: progress callback. Its argument is the number of patches that were processed since
            the last call.
        chunk_patches: maximum number of patches in a chunk.
        shard_chunks: maximum number of chunks in a shard.

    Raises:
        DataError: the source cannot be listed.
        DataError: a patch is fatal (see `BadPatch.fatal`).
        DataError: a patch has no gaze label.
    """
    file.unlink(missing_ok=True)
    with _opened(file) as database:
        database.executescript(_TABLES)
        _list(database, listing, source, advance)
        database.execute(f"CREATE INDEX grouped ON listed ({_GROUP}, disorder)")
        database.executemany(
            "INSERT INTO placed VALUES (?, ?, ?)", _placed(database, chunk_patches)
        )
        database.execute(
            "INSERT INTO left_out SELECT number, file, "
            "CASE WHEN within THEN side || ' ' || within ELSE '' END, ? "
            f"FROM listed GROUP BY {_GROUP} HAVING COUNT(*) = 1",
            (NO_PARTNER,),
        )
        database.commit()
        chunks, patches = database.execute(
            "SELECT COALESCE(MAX(chunk) + 1, 0), COUNT(*) FROM placed"
        ).fetchone()
    return Plan(file, source, chunks, chunk_patches, shard_chunks, patches)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(file)
    try:
        yield database
    finally:
        database.close()


def _list(database: sqlite3.Connection, listing: Listing, source: Path, advance: Advance) -> None:
    numbered = enumerate(listing.entries)
    unlabelled = total = 0
    while some := list(islice(numbered, _AT_ONCE)):
        bad = [(number, one) for number, one in some if isinstance(one, BadPatch)]
        refuse_fatal([one for _, one in bad], source)
        database.executemany(
            "INSERT INTO left_out VALUES (?, ?, ?, ?)",
            [(number, _inside(source, one.file), one.within, one.reason) for number, one in bad],
        )
        good = [(number, one) for number, one in some if isinstance(one, Entry)]
        unlabelled += sum(one.label.gaze is None for _, one in good)
        total += len(good)
        if good and not unlabelled:
            database.executemany(
                f"INSERT INTO listed VALUES ({', '.join('?' * 11)})",
                _listed(good, source, listing.head_bin_deg),
            )
        advance(len(some))
    refuse_unlabelled(unlabelled, total, source)


def _listed(
    good: list[tuple[int, Entry]], source: Path, head_bin_deg: float
) -> Iterator[tuple[object, ...]]:
    labels = [entry.label for _, entry in good]
    bins = pose_bins(
        np.stack([label.head.array() for label in labels]),
        sides=[label.side for label in labels],
        head_bin_deg=head_bin_deg,
    )
    for (number, entry), (pitch, yaw) in zip(good, bins.tolist(), strict=True):
        label, state = entry.label, entry.file.stat()
        assert label.gaze is not None
        yield (
            *(number, label.subject, label.side, pitch, yaw, number * _GOLDEN % 2**32),
            *(_inside(source, entry.file), entry.number),
            _ANGLES.pack(
                *(label.gaze.pitch_deg, label.gaze.yaw_deg),
                *(label.head.pitch_deg, label.head.yaw_deg),
            ),
            *(state.st_size, state.st_mtime_ns),
        )


def _inside(source: Path, file: Path) -> bytes:
    return os.fsencode(file.relative_to(source))


def _placed(database: sqlite3.Connection, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield (chunk, number, group) for every patch whose group contains another patch."""
    groups = database.execute(f"SELECT COUNT(*) FROM listed GROUP BY {_GROUP} ORDER BY {_GROUP}")
    numbers = database.execute(f"SELECT number FROM listed ORDER BY {_GROUP}, disorder")
    chunk = 0
    for group, (count,) in enumerate(groups):
        chunks = -(-count // most) if count > 1 else 0
        for index, (number,) in enumerate(islice(numbers, count)):
            if chunks:
                yield chunk + index * chunks // count, number, group
        chunk += chunks

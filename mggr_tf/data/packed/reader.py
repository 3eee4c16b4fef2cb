"""List the patches of a pack, and load records into memory.

A pack is a folder that `mggr-tf data pack` wrote. Its files, the shards, consist of records. A
record contains up to 32 patches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.progress import Progress, no_progress
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.geometry.eye_crop import mirror_image
from mggr_edge.models.conventions import Conventions
from mggr_tf.data.listing import BadPatch, Entry, EyeLabel, Listing
from mggr_tf.data.packed.index import CorruptRecords, PackIndex, is_pack, open_index, sha256_of
from mggr_tf.data.schema import EyeSamples

if TYPE_CHECKING:
    from mggr_tf.data.packed.chunk import Chunk


def recognises(path: Path) -> bool:
    """Return whether `mggr-tf data pack` wrote this folder."""
    return is_pack(path)


def listing(path: Path, *, subjects: Collection[str] | None = None) -> Listing:
    """List the patches of a pack. At any moment, only one record is in memory.

    A corrupt record is listed as a bad patch. If `subjects` is `None`, a shard with valid records
    but a wrong checksum is also listed as a bad patch.

    Args:
        path: folder of the pack.
        subjects: names of the subjects to list. `None` lists all subjects.

    Raises:
        DataError: the index of the pack is damaged, or a shard is missing.
    """
    pack = _Pack(open_index(path))
    about = pack.index.about
    return Listing(pack.entries(subjects), pack.read, about.licence, about.head_bin_deg)


class _Pack:
    """Reads patches and caches the last record.

    Callers request the patches of a record one after another. Without the cache, the record would
    be read again for each patch.
    """

    def __init__(self, index: PackIndex) -> None:
        # These imports load TensorFlow. Code that only checks the format of a folder does not need
        # TensorFlow.
        from mggr_tf.data.packed.chunk import Chunk, Records

        self.index, self._records, self._parse = index, Records(index), Chunk.from_bytes
        self._ends = np.cumsum(index.records["patches"])
        self._number = -1
        self._chunk: Chunk | None = None

    def entries(self, subjects: Collection[str] | None) -> Iterator[Entry | BadPatch]:
        everything = np.arange(len(self.index.records))
        wanted = everything if subjects is None else self.index.of_subjects(subjects)
        for place, shard in enumerate(self.index.about.shards):
            of_it = wanted[self.index.records["shard"][wanted] == place]
            file, spoilt = self.index.path / shard.file, False
            for number, data in self._records.read_all(of_it):
                if data:
                    yield from self._of_record(number, data, file)
                else:
                    spoilt = True
                    yield BadPatch(file, "corrupt", fatal=False, within=self._within(number))
            if subjects is None and not spoilt and sha256_of(file) != shard.sha256:
                yield BadPatch(file, "checksum differs from index.json", fatal=False)

    def read(self, entry: Entry) -> NDArray[np.uint8] | BadPatch:
        number = int(np.searchsorted(self._ends, entry.number - 1, side="right"))
        if number != self._number:
            ((_, data),) = self._records.read_all(np.asarray([number]))
            if not data:
                return BadPatch(entry.file, "corrupt", fatal=False, within=self._within(number))
            self._number, self._chunk = number, self._parse(data)
        assert self._chunk is not None
        image = self._chunk.images[entry.number - 1 - self._first(number)]
        return mirror_image(image) if _is_mirrored(entry.label.side) else image

    def _of_record(self, number: int, data: bytes, file: Path) -> Iterator[Entry]:
        chunk = self._parse(data)
        self._number, self._chunk = number, chunk
        for index, (gaze, head) in enumerate(zip(chunk.gaze_deg, chunk.head_deg, strict=True)):
            label = _as_photographed(chunk, Gaze(*head.tolist()), Gaze(*gaze.tolist()))
            yield Entry(file, label, self._first(number) + index + 1)

    def _first(self, number: int) -> int:
        return int(self._ends[number] - self.index.records["patches"][number])

    def _within(self, number: int) -> str:
        return self.index.name_of(number).partition(" ")[2]


def _as_photographed(chunk: Chunk, head: Gaze, gaze: Gaze) -> EyeLabel:
    if _is_mirrored(chunk.side):
        head, gaze = head.mirrored(), gaze.mirrored()
    return EyeLabel(chunk.subject, chunk.side, head, gaze)


def _is_mirrored(side: Side) -> bool:
    return side != Conventions().canonical_side


def load(
    index: PackIndex,
    numbers: NDArray[np.int64],
    *,
    corrupt: CorruptRecords,
    progress: Progress = no_progress,
) -> EyeSamples:
    """Read records into memory. The patches are in the order of the source.

    Args:
        index: index of the pack.
        numbers: indices of the records to read, at least one.
        corrupt: counter of corrupt records. These records are skipped.
        progress: function that creates a progress bar. The progress bar counts patches.

    Raises:
        DataError: too many records are corrupt, or all records are corrupt.
    """
    from mggr_tf.data.packed.chunk import Chunk, Records  # Imports TensorFlow.

    room = int(index.records["patches"][numbers].sum())
    images = np.empty((room, index.about.patch_size, index.about.patch_size, 3), np.uint8)
    chunks: list[Chunk] = []
    filled = 0
    with progress("reading packed patches", room) as advance:
        for number, data in Records(index).read_all(numbers):
            if not data:
                corrupt.note(number)
                continue
            chunk = Chunk.from_bytes(data)
            images[filled : filled + len(chunk)] = chunk.images
            filled += len(chunk)
            chunks.append(chunk.without_images())
            advance(len(chunk))
    if not chunks:
        raise corrupt.failed()
    return _samples(index, images[:filled], chunks)


def _samples(index: PackIndex, images: NDArray[np.uint8], chunks: list[Chunk]) -> EyeSamples:
    order = np.argsort(np.concatenate([chunk.numbers for chunk in chunks]))
    lengths = [len(chunk.numbers) for chunk in chunks]
    groups = np.repeat([chunk.group for chunk in chunks], lengths)
    return EyeSamples(
        images=images[order],
        gaze_deg=np.concatenate([chunk.gaze_deg for chunk in chunks])[order],
        head_deg=np.concatenate([chunk.head_deg for chunk in chunks])[order],
        subject=np.repeat([chunk.subject for chunk in chunks], lengths)[order],
        # As in `make_samples`, the numbers have the sorted order of subject, side and head pose.
        group=np.unique(groups, return_inverse=True)[1].astype(np.int32)[order],
        source=index.about.source,
        licence=index.about.licence,
    )

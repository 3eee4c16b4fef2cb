"""Read and write the index of a pack, and the list of patches that are not in the pack.

A pack is a folder that `mggr-tf data pack` wrote. A pack stores eye patches in large files, the
shards. A shard consists of records. A record contains up to 32 patches of one subject, side and
head pose.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.schema import plain, read, read_json
from mggr_edge.errors import ConfigError, DataError
from mggr_edge.geometry.eye_crop import DEFAULT_SIZE_PX

SCHEMA = 1
INDEX, RECORDS = "index.json", "records.npy"
RECORD = np.dtype(
    [("shard", "<i4"), ("offset", "<i8"), ("patches", "<i4"), ("subject", "<i4"), ("group", "<i8")]
)


@dataclass(frozen=True)
class Shard:
    """A file that contains records.

    Attributes:
        file: name of the file in the pack.
        sha256: SHA-256 of the file, in hexadecimal digits.
        size: size of the file in bytes.
        records: number of records.
    """

    file: str
    sha256: str
    size: int
    records: int


@dataclass(frozen=True)
class About:
    """The content of `index.json`.

    Attributes:
        source: name of the folder that was packed.
        licence: terms of use for models that are trained on the patches.
        head_bin_deg: width of the head pose bins, in degrees. All patches of a record are in the
            same bin.
        subjects: sorted names of the subjects. Records refer to a subject by its index.
        shards: shard files in the order of their numbers.
        records_sha256: SHA-256 of `records.npy`, in hexadecimal digits.
        patches: number of patches in the pack.
        left_out: number of patches of the source that are not in the pack.
        chunk_patches: maximum number of patches in a record.
        patch_size: width and height of a patch in pixels.
        schema: version of the format.
        fingerprint: SHA-256 of all other attributes, in hexadecimal digits.
    """

    source: str
    licence: str
    head_bin_deg: float
    subjects: tuple[str, ...]
    shards: tuple[Shard, ...]
    records_sha256: str
    patches: int
    left_out: int
    chunk_patches: int
    patch_size: int = DEFAULT_SIZE_PX
    schema: int = SCHEMA
    fingerprint: str = ""

    def sealed(self) -> About:
        """Return a copy that contains the correct fingerprint."""
        text = json.dumps(plain(replace(self, fingerprint="")), sort_keys=True)
        return replace(self, fingerprint=hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class PackIndex:
    """The index of an opened pack.

    Attributes:
        path: folder of the pack.
        about: content of `index.json`.
        records: [N] array of `RECORD`, sorted by shard and by offset in the shard.
    """

    path: Path
    about: About
    records: NDArray[np.void]

    @property
    def patch_bytes(self) -> int:
        """The number of bytes that the pixels of one patch need."""
        return self.about.patch_size**2 * 3

    def of_subjects(self, names: Collection[str]) -> NDArray[np.int64]:
        """Return the indices of the records that belong to these subjects."""
        places = [i for i, name in enumerate(self.about.subjects) if name in names]
        return np.flatnonzero(np.isin(self.records["subject"], places))

    def name_of(self, number: int) -> str:
        """Return the name of a record, for example `shard-00003.tfrecord record 12`.

        The number in the name is the position of the record in the shard, counted from 1.
        """
        shard = int(self.records["shard"][number])
        first = sum(one.records for one in self.about.shards[:shard])
        return f"{self.about.shards[shard].file} record {number - first + 1}"


def is_pack(path: Path) -> bool:
    """Return whether `mggr-tf data pack` wrote the folder."""
    return (path / INDEX).is_file() and (path / RECORDS).is_file()


def write_index(folder: Path, about: About) -> None:
    """Write `index.json`. The fingerprint of the other attributes is stored in this file.

    All other files of the pack must exist.
    """
    with atomic_file(folder / INDEX, force=True) as temporary:
        text = json.dumps(plain(about.sealed()), indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def open_index(path: Path) -> PackIndex:
    """Open the index of a pack and check that all shards exist. The shards are not read.

    Raises:
        DataError: the index is damaged or has an unsupported version.
        DataError: a shard is missing.
    """
    about = _about(path)
    missing = [one.file for one in about.shards if not (path / one.file).is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"{path / missing[0]} is missing{more}; copy or pack the data again",
            code="shard-missing",
            path=path / missing[0],
            count=len(missing),
        )
    if sha256_of(path / RECORDS) != about.records_sha256:
        raise _damaged(path / RECORDS, "wrong checksum")
    return PackIndex(path, about, np.load(path / RECORDS, mmap_mode="r", allow_pickle=False))


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _about(path: Path) -> About:
    file = path / INDEX
    try:
        data = read_json(file.read_text(encoding="utf-8"))
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise DataError(
                f"{file} has schema version {schema!r}, but this version of mggr-tf reads only "
                f"version {SCHEMA}; pack the data again",
                code="pack-schema-version",
                path=file,
                found=schema,
                expected=SCHEMA,
            )
        about = read(About, data)
    except (OSError, ValueError, ConfigError) as error:
        raise _damaged(file, str(error)) from error
    if about.sealed() != about:
        raise _damaged(file, "wrong checksum")
    return about


def _damaged(file: Path, why: str) -> DataError:
    return DataError(
        f"{file} is damaged: {why}; copy or pack the data again",
        code="pack-damaged",
        path=file,
        reason=why,
    )


LEFT_OUT = "left-out.csv"
NO_PARTNER = "no other valid patch of this subject, side and head pose"


@dataclass(frozen=True)
class LeftOut:
    """A patch of the source that is not in the pack.

    Attributes:
        number: position of the patch in the source.
        file: path of the file that contains the patch, relative to the source.
        within: identifier of the patch in the file. It is empty if the file contains only one
            patch.
        reason: reason why the patch is not in the pack.
        fatal: whether packing must reject the whole source because of this patch.
    """

    number: int
    file: str
    within: str
    reason: str
    fatal: bool = False


def write_left_out(path: Path, patches: Iterable[LeftOut]) -> None:
    """Write a CSV table of the patches that are not in the pack, in the order of the source."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("file", "within", "reason"))
        for one in sorted(patches, key=lambda one: one.number):
            writer.writerow((one.file, one.within, one.reason))


_NAMED = 5


class CorruptRecords:
    """Counts the corrupt records of a pack. All reader threads share one counter.

    Args:
        index: index of the pack.
        limit: maximum allowed number of corrupt records.
        notify: callback for messages, called once for each corrupt record.
    """

    def __init__(self, index: PackIndex, *, limit: int, notify: Callable[[str], None]) -> None:
        self._index, self._limit, self._notify = index, limit, notify
        self._found: set[int] = set()
        self._lock = threading.Lock()
        self.failure: DataError | None = None

    def __len__(self) -> int:
        return len(self._found)

    def note(self, number: int) -> None:
        """Add a corrupt record.

        Raises:
            DataError: the number of corrupt records is above the limit. The error is also stored in
                `failure`, because TensorFlow can replace the raised error by its own error.
        """
        with self._lock:
            if number not in self._found:
                self._found.add(number)
                self._notify(
                    f"{self._index.path}: {self._index.name_of(number)} is corrupt and is skipped "
                    f"({len(self._found)} so far, 'packed.corrupt_limit' is {self._limit})"
                )
            if len(self._found) > self._limit:
                raise self.failed()

    def failed(self) -> DataError:
        """Create the error that stops the training.

        The message names at most `_NAMED` corrupt records.
        """
        names = [self._index.name_of(number) for number in sorted(self._found)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        check = shlex.join(["mggr-tf", "data", "check", str(self._index.path)])
        self.failure = DataError(
            f"{self._index.path}: too many corrupt records ({len(names)}, 'packed.corrupt_limit' "
            f"is {self._limit}): {', '.join(names[:_NAMED])}{more}; pack the source again, or copy "
            f"the pack again (`{check}` lists all corrupt records)",
            code="too-many-corrupt-records",
            path=self._index.path,
            count=len(names),
            limit=self._limit,
            records=", ".join(names[:_NAMED]),
        )
        return self.failure

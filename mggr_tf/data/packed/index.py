"""The index of a pack: its people, its groups, and what was left out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Iterable
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
    """A file of records.

    Attributes:
        file: its name in the pack.
        sha256: of its bytes.
        size: how many there are.
        records: how many records.
    """

    file: str
    sha256: str
    size: int
    records: int


@dataclass(frozen=True)
class About:
    """The content of `index.json`.

    Attributes:
        source: the name of the folder that was packed.
        licence: what may be done with what is trained on it.
        head_bin_deg: head poses within one bin of this width were put together.
        subjects: names, sorted; records name them by their place here.
        shards: the files, in order.
        records_sha256: of `records.npy`.
        patches: how many there are.
        left_out: how many of the source are not here.
        chunk_patches: the most in one record.
        patch_size: pixels of a patch's side.
        fingerprint: SHA-256 of all the rest.
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
        """The same with its fingerprint."""
        text = json.dumps(plain(replace(self, fingerprint="")), sort_keys=True)
        return replace(self, fingerprint=hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class PackIndex:
    """A pack that was opened.

    Attributes:
        path: the folder.
        about: what `index.json` says.
        records: [N] of `RECORD`, in the order in which they lie in the shards.
    """

    path: Path
    about: About
    records: NDArray[np.void]

    @property
    def patch_bytes(self) -> int:
        """Bytes of one patch's pixels."""
        return self.about.patch_size**2 * 3

    def of_subjects(self, names: Collection[str]) -> NDArray[np.int64]:
        """Numbers of the records that show these people."""
        places = [i for i, name in enumerate(self.about.subjects) if name in names]
        return np.flatnonzero(np.isin(self.records["subject"], places))

    def name_of(self, number: int) -> str:
        """A record as a person finds it: `shard-00003.tfrecord record 12`, counted from 1."""
        shard = int(self.records["shard"][number])
        first = sum(one.records for one in self.about.shards[:shard])
        return f"{self.about.shards[shard].file} record {number - first + 1}"


def is_pack(path: Path) -> bool:
    """Whether a folder was written by `mggr-tf data pack`."""
    return (path / INDEX).is_file() and (path / RECORDS).is_file()


def write_index(folder: Path, about: About) -> None:
    """Writes `index.json`, sealed; the other files must be there."""
    with atomic_file(folder / INDEX, force=True) as temporary:
        text = json.dumps(plain(about.sealed()), indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def open_index(path: Path) -> PackIndex:
    """Opens a pack; its shards are only looked for, not read.

    Raises:
        DataError: it is damaged, of another version, or lacks a shard.
    """
    about = _about(path)
    missing = [one.file for one in about.shards if not (path / one.file).is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{path / missing[0]} is missing{more}; copy or pack the data again")
    if sha256_of(path / RECORDS) != about.records_sha256:
        raise _damaged(path / RECORDS, "its checksum is another")
    return PackIndex(path, about, np.load(path / RECORDS, mmap_mode="r", allow_pickle=False))


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
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
            raise DataError(f"{file} has schema {schema!r}, this version reads {SCHEMA}")
        about = read(About, data)
    except (OSError, ValueError, ConfigError) as error:
        raise _damaged(file, str(error)) from error
    if about.sealed() != about:
        raise _damaged(file, "its checksum is another")
    return about


def _damaged(file: Path, why: str) -> DataError:
    return DataError(f"{file} is damaged: {why}; copy or pack the data again")


LEFT_OUT = "left-out.csv"
NO_PARTNER = "no other good patch of this person, side and head pose"


@dataclass(frozen=True)
class LeftOut:
    """One patch.

    Attributes:
        number: its place in the source.
        file: its file, relative to the source.
        within: which patch of a file that holds many.
        reason: why it is left out.
        fatal: packing refuses a source that holds it.
    """

    number: int
    file: str
    within: str
    reason: str
    fatal: bool = False


def write_left_out(path: Path, patches: Iterable[LeftOut]) -> None:
    """Writes a table of them, in the order of the source."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("file", "within", "reason"))
        for one in sorted(patches, key=lambda one: one.number):
            writer.writerow((one.file, one.within, one.reason))

"""The files of a bundle, a folder or a zip of it: read once, and held against `SHA256SUMS`.

Names and sizes are looked at before anything is read: what leads out of the bundle, is there twice,
or would fill the memory is refused, although its checksum may be right.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mggr_edge.errors import BundleError

CONTRACT_FILE = "contract.json"
SUMS_FILE = "SHA256SUMS"

_MOST_BYTES = 1 << 30
"""Of all files together; our own bundles have a hundredth of it."""
_MOST_UNPACKED = 100
"""Times as large as its zip: weights shrink by a few percent, and texts to a tenth."""
_LEADS_AWAY = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)(\.{0,2})(/|$)")
"""Absolute, of another drive, or with a part that is empty, `.` or `..`."""
_UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(RuntimeError, ValueError, OverflowError),  # encrypted, a name that is no UTF-8, a place
)


@dataclass(frozen=True)
class _Listed:
    """What lies in a bundle, before it is read.

    Attributes:
        sizes: name of every file -> bytes that it says it has.
        most_bytes: that all of them may have.
        read: gives a file's content by its name.
    """

    sizes: Mapping[str, int]
    most_bytes: int
    read: Callable[[str], bytes]


def read_bundle_files(path: Path) -> dict[str, bytes]:
    """Reads every file of a bundle and holds it against `SHA256SUMS`.

    Returns:
        posix path inside the bundle -> bytes, without `SHA256SUMS` itself.

    Raises:
        BundleError: no bundle there, or a file that is missing, changed, too many, or whose name
            or size does not belong in a bundle.
    """
    with _listed_zip(path) if os.path.isfile(path) else _listed_folder(path) as listed:
        names = set(listed.sizes)
        if not {SUMS_FILE, CONTRACT_FILE} <= names:
            raise BundleError(f"{path} is not a bundle: it has no {CONTRACT_FILE} with {SUMS_FILE}")
        unpacked = sum(listed.sizes.values())
        if unpacked > listed.most_bytes:
            raise BundleError(
                f"{path} has {unpacked / 1e6:,.0f} MB of files, expected at most "
                f"{listed.most_bytes / 1e6:,.0f}; copy the bundle again"
            )
        sums = _parse_sums(path, listed.read(SUMS_FILE))
        files = {}
        for name in sorted(sums.keys() | names - {SUMS_FILE}):
            if name not in names:
                raise BundleError(f"{path}: {name} is missing; copy the bundle again")
            if name not in sums:
                raise BundleError(f"{path}: {name} is not listed in {SUMS_FILE}; remove it")
            files[name] = listed.read(name)
            if hashlib.sha256(files[name]).hexdigest() != sums[name]:
                raise BundleError(
                    f"{path}: {name} does not match its checksum; copy the bundle again"
                )
    return files


def checksum_lines(files: Mapping[str, bytes]) -> str:
    """The text of `SHA256SUMS`, readable by `sha256sum --check`."""
    return "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files))


def _parse_sums(path: Path, content: bytes) -> dict[str, str]:
    sums: dict[str, str] = {}
    try:
        for line in content.decode("utf-8").removesuffix("\n").split("\n"):
            digest, name = line.split("  ", 1)
            if name in sums:
                raise BundleError(f"{path}: {SUMS_FILE} names {name} twice; copy the bundle again")
            sums[name] = digest
    except ValueError as error:
        raise BundleError(f"{path}: {SUMS_FILE} is damaged; copy the bundle again") from error
    return sums


def _check_names(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if _LEADS_AWAY.search(name):
            raise BundleError(f"{path}: {name} leads out of the bundle, or to nowhere in it")
        if name.casefold() in seen:
            raise BundleError(f"{path}: {name} is there twice, if capitals are small letters")
        seen.add(name.casefold())


@contextmanager
def _listed_folder(path: Path) -> Iterator[_Listed]:
    if not os.path.isdir(path):
        raise BundleError(f"{path} does not exist; a bundle is a folder or a zip of it")
    try:
        sizes = {}
        for entry in sorted(path.rglob("*")):
            name = entry.relative_to(path).as_posix()
            if entry.is_file():
                sizes[name] = entry.stat().st_size
            elif entry.is_symlink() or not entry.is_dir():
                raise BundleError(f"{path}: {name} is neither a file nor a folder; remove it")
        _check_names(path, sizes)
        yield _Listed(sizes, _MOST_BYTES, lambda name: (path / name).read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def _listed_zip(path: Path) -> Iterator[_Listed]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                _check_entry(path, entry)
            _check_names(path, [entry.filename.removesuffix("/") for entry in entries])
            sizes = {one.filename: one.file_size for one in entries if not one.is_dir()}
            most_bytes = min(_MOST_BYTES, _MOST_UNPACKED * path.stat().st_size)
            yield _Listed(sizes, most_bytes, archive.read)
    except _UNREADABLE_ZIP as error:
        raise BundleError(f"{path} is not a bundle: {error}") from error


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    if entry.filename != entry.orig_filename:
        raise BundleError(f"{path}: {entry.orig_filename!r} is no name of a file")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise BundleError(f"{path}: {entry.filename} is a link; pack what it leads to")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(
            f"{path}: {entry.filename} is packed in another way than stored, deflated"
        )

"""Read zip files from untrusted sources within memory limits, and check their entries.

`zipfile` trusts the sizes that a zip file declares. `zipfile` decompresses a whole entry before it
cuts the entry to its declared size. `zipfile` also reads the central directory (the list of all
entries) in one step, even if the directory is very large. The functions in this module read entries
in chunks, and they limit the size of the central directory.
"""

from __future__ import annotations

import copy
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from mggr_edge.errors import BundleError

MOST_UNPACKED = 100
"""Maximum unpacked size of a zip file divided by its packed size.

Valid bundles have a much lower ratio. Compression makes weights only a few percent smaller, and
text files about ten times smaller.
"""

UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(RuntimeError, ValueError, OverflowError),  # A name is not UTF-8, or an offset is too large.
)
"""Exceptions that `zipfile` raises for a file that is damaged or not a zip."""

_LEADS_AWAY = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)(\.{0,2})(/|$)")
"""Pattern of invalid paths.

A path is invalid if it is absolute, or if it contains a drive letter or a backslash. It is also
invalid if one of its parts is empty, `.` or `..`.
"""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_CHUNK_BYTES = 1 << 20
_MOST_AT_ONCE_BYTES = 8 << 20
_ENCRYPTED = 1
"""Bit in the flags of an entry that marks the entry as encrypted."""


class BoundedFile(io.FileIO):
    """A zip file that rejects a large central directory.

    `zipfile` reads the central directory with a single `read` call, and it reads entries in chunks.
    Therefore the limit on the size of one `read` call applies to the central directory.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; `None` or a negative size reads up to the end of the file.

        Raises:
            BadZipFile: the read would return more bytes than the limit of 8 MiB.
        """
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > _MOST_AT_ONCE_BYTES:
            raise zipfile.BadZipFile(
                f"its central directory is larger than {_MOST_AT_ONCE_BYTES >> 20} MiB"
            )
        return super().read(max(0, wanted)) or b""


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """Open an entry for `read_declared`.

    `zipfile` stops at the declared size, so it hides any extra bytes. This function increases the
    declared size of a copy of the entry. Then `read_declared` can detect an entry that is longer
    than it declares.
    """
    longer = copy.copy(entry)
    longer.file_size += 2 * _CHUNK_BYTES  # `read_declared` stops before this limit.
    return archive.open(longer)


def read_declared(file: IO[bytes], declared: int, *, name: str) -> bytes:
    """Read a file of a declared size in chunks, and check that it ends at that size.

    Args:
        file: the file to read. Its `read` must also return bytes beyond the declared size.
        declared: the declared size in bytes.
        name: the name of the file, for error messages.

    Raises:
        BundleError: the file is shorter or longer than declared.
    """
    left, chunks = declared + 1, []
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
    if left == 0:
        raise BundleError(
            f"{name} is longer than its declared size of {declared:,} bytes; copy the bundle again",
            code="file-longer-than-declared",
            name=name,
            declared=declared,
        )
    if left > 1:
        found = declared + 1 - left
        raise BundleError(
            f"{name} has {found:,} bytes, expected its declared size of {declared:,} bytes; copy "
            "the bundle again",
            code="file-shorter-than-declared",
            name=name,
            declared=declared,
            found=found,
        )
    return b"".join(chunks)


def check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Check that an entry is a regular file or a folder that can be read.

    Args:
        path: the zip file, for error messages.
        entry: the entry to check.

    Raises:
        BundleError: the entry is a link, a device or an encrypted file. The error is also raised
            if the name contains a null byte, or if the compression method is not supported.
            Supported methods are stored and deflated.
    """
    name = entry.filename
    if name != entry.orig_filename:
        raise BundleError(
            f"{path}: {entry.orig_filename!r} is not a valid file name; rename the file and pack "
            "the bundle again",
            code="zip-name-invalid",
            path=path,
            file=entry.orig_filename,
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise BundleError(
            f"{path}: {name} is a link; pack the file that it points to",
            code="zip-has-link",
            path=path,
            file=name,
        )
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BundleError(
            f"{path}: {name} is neither a file nor a folder; remove this entry from the zip",
            code="zip-has-special-file",
            path=path,
            file=name,
        )
    if entry.flag_bits & _ENCRYPTED:
        raise BundleError(
            f"{path}: {name} is encrypted; pack the bundle without a password",
            code="zip-is-encrypted",
            path=path,
            file=name,
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(
            f"{path}: {name} is compressed by method {entry.compress_type}, expected stored or "
            "deflated; pack the bundle as an ordinary zip",
            code="zip-compression-unsupported",
            path=path,
            file=name,
            method=entry.compress_type,
        )


def check_names(path: Path, names: Iterable[str]) -> None:
    """Check that all names are relative paths that every file system can store.

    Args:
        path: the zip file or folder, for error messages.
        names: POSIX paths inside the zip file or folder.

    Raises:
        BundleError: a name points outside of the bundle or has control characters. The error is
            also raised if two names differ only in upper and lower case.
    """
    seen: set[str] = set()
    for name in names:
        if _LEADS_AWAY.search(name):
            raise BundleError(
                f"{path}: {name} is not a valid path inside a bundle; expected a relative path "
                "without '.', '..', backslashes or a drive letter",
                code="file-name-unsafe",
                path=path,
                file=name,
            )
        if _CONTROL.search(name):
            raise BundleError(
                f"{path}: {name!r} has control characters; rename the file",
                code="file-name-with-control-characters",
                path=path,
                file=name,
            )
        if name.casefold() in seen:
            raise BundleError(
                f"{path}: duplicate file name {name} (case-insensitive); copy the bundle again",
                code="file-name-duplicate",
                path=path,
                file=name,
            )
        seen.add(name.casefold())

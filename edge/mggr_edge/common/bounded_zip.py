"""Zips from anywhere, read within limits.

zipfile trusts what a zip declares: it inflates a whole entry before it cuts it to the declared
size, and reads a table of contents of any size at once. These functions do neither.
"""

from __future__ import annotations

import copy
import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from mggr_edge.errors import BundleError

MOST_UNPACKED = 100
"""Times as large as its zip: weights shrink by a few percent, and texts to a tenth."""

UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(RuntimeError, ValueError, OverflowError),  # A name that is no UTF-8, a place beyond the file.
)
"""What zipfile raises for a file that is damaged or no zip."""

_CHUNK_BYTES = 1 << 20
_MOST_AT_ONCE_BYTES = 8 << 20
_ENCRYPTED = 1
"""Bit of an entry's flags."""


class BoundedFile(io.FileIO):
    """A zip whose table of contents is small: zipfile reads that in one go, others in chunks."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads so many bytes, or all that are left.

        Raises:
            BadZipFile: more than the limit.
        """
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > _MOST_AT_ONCE_BYTES:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(max(0, wanted)) or b""


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """Opens an entry for `read_declared`.

    zipfile's own end at the declared size would hide what follows, so it is moved away.
    """
    longer = copy.copy(entry)
    longer.file_size += 2 * _CHUNK_BYTES  # Never reached: the reader stops before.
    return archive.open(longer)


def read_declared(file: IO[bytes], declared: int, *, name: str) -> bytes:
    """Reads a file of a declared size in chunks, and one byte more to see that it ends there.

    Args:
        file: gives all its bytes, also those beyond the declared size.
        declared: bytes.
        name: of the file, for messages.

    Raises:
        BundleError: it has another size.
    """
    left, chunks = declared + 1, []
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
    if left != 1:
        got = "more" if left == 0 else f"{declared + 1 - left:,}"
        raise BundleError(
            f"{name} was declared to have {declared:,} bytes and has {got}; copy the bundle again"
        )
    return b"".join(chunks)


def check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Refuses an entry that is no plain file or folder.

    Raises:
        BundleError: a link, a device, an encrypted file, another compression, or a name that ends
            early.
    """
    name = entry.filename
    if name != entry.orig_filename:
        raise BundleError(f"{path}: {entry.orig_filename!r} is no name of a file")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise BundleError(f"{path}: {name} is a link; pack what it leads to")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BundleError(f"{path}: {name} is neither a file nor a folder; leave it out of the zip")
    if entry.flag_bits & _ENCRYPTED:
        raise BundleError(f"{path}: {name} is encrypted; pack the bundle without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(
            f"{path}: {name} is compressed by method {entry.compress_type}, expected stored or "
            "deflated; pack the bundle as an ordinary zip"
        )

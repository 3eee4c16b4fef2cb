"""A SavedModel folder as one file: a zip of it, the same bytes every time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mggr_edge.common.bounded_zip import MOST_UNPACKED, UNREADABLE_ZIP, open_entry, read_declared
from mggr_edge.errors import BundleError

_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The first that a zip can say; the same for every entry."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files by their posix paths as a zip without clock or order of its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """Files by their posix paths.

    Raises:
        BundleError: no zip, or one that inflates beyond what it declares or may.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            total, most = sum(one.file_size for one in entries), MOST_UNPACKED * len(content)
            if total > most:
                raise BundleError(
                    f"no zipped SavedModel: it declares {total:,} bytes, expected at most {most:,}"
                )
            return {one.filename: _content(archive, one) for one in entries}
    except UNREADABLE_ZIP as error:
        raise BundleError(f"no zipped SavedModel: {error}") from error


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with open_entry(archive, entry) as file:
        return read_declared(file, entry.file_size, name=entry.filename)


def write_into(folder: Path, files: Mapping[str, bytes]) -> None:
    """Lays the files out below a folder.

    Raises:
        BundleError: a path that would leave it.
    """
    for name, content in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BundleError(f"no zipped SavedModel: it holds a path {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_from(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }

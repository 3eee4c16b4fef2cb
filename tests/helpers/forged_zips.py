"""Zips whose headers are not true."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path


def declare(path: Path, name: str, size: int) -> Path:
    """Writes another size into a zip's headers, and the checksum of so many bytes."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
        crc = zlib.crc32(archive.read(name)[:size])
    content = bytearray(path.read_bytes())
    facts = struct.pack("<LLL", crc, info.compress_size, size)
    content[info.header_offset + 14 : info.header_offset + 26] = facts
    at = content.index(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.index(b"PK\x01\x02", at + 4)
    content[at + 16 : at + 28] = facts
    path.write_bytes(content)
    return path

"""Boxes of MP4 and QuickTime files, of which only the headers are read.

References:
    ISO/IEC 14496-12 (ISO base media file format): boxes of size, type and content.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_HEADER, _LARGE = struct.Struct(">I4s"), struct.Struct(">Q")
_SIZE_FOLLOWS, _UP_TO_THE_END = 1, 0


@dataclass(frozen=True)
class Box:
    """A box and where it lies in its file, in bytes.

    Attributes:
        kind: its four letters.
        content: where its content begins.
        end: where it ends.
    """

    kind: bytes
    content: int
    end: int


def boxes(file: IO[bytes], within: Box | None = None) -> Iterator[Box]:
    """Yields the boxes of a file, or of a box, up to the first one that is cut off."""
    length = file.seek(0, os.SEEK_END) if within is None else within.end
    place = 0 if within is None else within.content
    while place + _HEADER.size <= length:
        file.seek(place)
        size, kind = _HEADER.unpack(file.read(_HEADER.size))
        content = place + _HEADER.size
        if size == _SIZE_FOLLOWS and content + _LARGE.size <= length:
            (size,) = _LARGE.unpack(file.read(_LARGE.size))
            content += _LARGE.size
        elif size == _UP_TO_THE_END and within is None:
            size = length - place
        if place + size < content or place + size > length:
            return
        place += size
        yield Box(kind, content, place)

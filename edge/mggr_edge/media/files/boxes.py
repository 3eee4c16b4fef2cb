"""Boxes of MP4 and QuickTime files, and the whole fragments of one that was cut off.

References:
    ISO/IEC 14496-12 (ISO base media file format): boxes of size, type and content.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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


def cut_to_whole_fragments(path: Path) -> bool:
    """Cuts a file behind its last whole fragment.

    Args:
        path: of a fragmented MP4 or QuickTime file.

    Returns:
        whether there is one; if not, the file is left as it is.
    """
    with path.open("r+b") as file:
        ends = [box.end for box in boxes(file) if box.kind == b"mdat"]
        if ends:
            file.truncate(ends[-1])
    return bool(ends)


def is_whole(path: Path) -> bool:
    """Whether a file consists of whole boxes, with nothing behind the last one."""
    with path.open("rb") as file:
        ends = [box.end for box in boxes(file)]
        return bool(ends) and ends[-1] == file.seek(0, os.SEEK_END)

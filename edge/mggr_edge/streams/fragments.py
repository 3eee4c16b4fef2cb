"""The boxes of a fragmented MP4 file, of which only the headers are read.

References:
    ISO/IEC 14496-12 (ISO base media file format): boxes of size, type and content; a fragment is a
    `moof` with the `mdat` behind it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_HEADER, _LARGE = struct.Struct(">I4s"), struct.Struct(">Q")
_SIZE_FOLLOWS = 1


def cut_to_whole_fragments(path: Path) -> bool:
    """Cuts a file behind its last whole fragment.

    Args:
        path: of a fragmented MP4 or QuickTime file.

    Returns:
        whether there is one; if not, the file is left as it is.
    """
    with path.open("r+b") as file:
        ends = [end for kind, end in _whole_boxes(file) if kind == b"mdat"]
        if ends:
            file.truncate(ends[-1])
    return bool(ends)


def is_whole(path: Path) -> bool:
    """Whether a file consists of whole boxes, with nothing behind the last one."""
    with path.open("rb") as file:
        ends = [end for _, end in _whole_boxes(file)]
        return bool(ends) and ends[-1] == file.seek(0, os.SEEK_END)


def _whole_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yields type and end of each box on the top level, up to the first one that is cut off."""
    length = file.seek(0, os.SEEK_END)
    place = 0
    while place + _HEADER.size <= length:
        file.seek(place)
        size, kind = _HEADER.unpack(file.read(_HEADER.size))
        if size == _SIZE_FOLLOWS and place + _HEADER.size + _LARGE.size <= length:
            (size,) = _LARGE.unpack(file.read(_LARGE.size))
        if size < _HEADER.size or place + size > length:
            return
        place += size
        yield kind, place

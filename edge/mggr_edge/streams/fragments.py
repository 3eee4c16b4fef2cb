"""What is whole of a fragmented MP4 that ends in the middle.

References:
    ISO/IEC 14496-12 (ISO base media file format): boxes of size, type and content; a fragment is a
    `moof` with the `mdat` behind it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_HEADER, _LARGE = struct.Struct(">I4s"), struct.Struct(">Q")
_SIZE_FOLLOWS = 1


def cut_to_whole_fragments(path: Path) -> bool:
    """Cuts a file behind its last whole fragment.

    Args:
        path: of a fragmented MP4 or QuickTime file.

    Returns:
        whether there is one; if not, the file is left as it is.
    """
    end = 0
    with path.open("r+b") as file:
        length = file.seek(0, os.SEEK_END)
        place = 0
        while place + _HEADER.size <= length:
            file.seek(place)
            size, kind = _HEADER.unpack(file.read(_HEADER.size))
            if size == _SIZE_FOLLOWS and place + _HEADER.size + _LARGE.size <= length:
                (size,) = _LARGE.unpack(file.read(_LARGE.size))
            if size < _HEADER.size or place + size > length:
                break
            place += size
            if kind == b"mdat":
                end = place
        if end:
            file.truncate(end)
    return end > 0

"""Whole and cut-off fragments of an MP4 file: a fragment is a `moof` with the `mdat` behind it."""

from __future__ import annotations

import os
from pathlib import Path

from mggr_edge.media.files.boxes import boxes


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

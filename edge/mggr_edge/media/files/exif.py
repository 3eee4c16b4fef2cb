"""Orientation of pictures and frames: EXIF, XMP and display matrices.

Blocks are changed in place, so that offsets stay valid: makers' notes point into them.

Named by EXIF's numbers: 1 is upright; 2, 4, 5 and 7 are mirrored; 3 is upside
down; 6 wants a quarter turn clockwise and 8 one counter-clockwise.

References:
    EXIF 2.32: orientation 0x0112 of IFD 0, thumbnail 0x0201 and 0x0202 of IFD 1.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

UPRIGHT = 1

_FROM_DISPLAY_MATRIX = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def upright(image: NDArray, orientation: int) -> NDArray:
    """Turns a stored picture as it is to be seen.

    Args:
        image: [H, W] or [H, W, C].
        orientation: EXIF's number, 1 to 8.

    Returns:
        The same pixels, C-contiguous; height and width change places from 5 on.

    Example:
        >>> upright(np.array([[1, 2]]), 6)  # a quarter turn clockwise
        array([[1],
               [2]])
    """
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation_of_display_matrix(matrix: ArrayLike) -> int:
    """Reads the orientation off a video's display matrix.

    Args:
        matrix: [9] 16.16 fixed-point numbers (a b u, c d v, x y w): the stored
            point (p, q) is shown at (a p + c q + x, b p + d q + y).

    Raises:
        ValueError: the matrix is no quarter turn or mirror image.
    """
    a, b, _, c, d = np.asarray(matrix, np.float64)[:5]
    largest = max(abs(a), abs(b), 1.0)
    key = tuple(round(value / largest) for value in (a, b, c, d))
    is_quarter_turn = min(abs(a), abs(b)) < 1e-3 * largest
    if not is_quarter_turn or key not in _FROM_DISPLAY_MATRIX:
        raise ValueError(f"the display matrix {key} is no quarter turn")
    return _FROM_DISPLAY_MATRIX[key]


_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_SIZES = ((0x0100, 0x0101), (0xA002, 0xA003))
"""Tags of (width, height): of IFD 0, and of the EXIF directory."""
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_ENTRY_BYTES = 12
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))\s*[2-8]")


@dataclass(frozen=True)
class UprightExif:
    """An EXIF block of a picture that is stored upright.

    Attributes:
        block: from its byte-order mark on.
        had_thumbnail: a thumbnail was removed, because it shows the picture as it was.
    """

    block: bytes
    had_thumbnail: bool


def exif_orientation(tiff: bytes) -> int:
    """Reads the orientation of the first directory.

    Args:
        tiff: the EXIF block from its byte-order mark on.

    Returns:
        1 to 8; 1 when the tag is absent or the block is damaged, as viewers do.
    """
    try:
        block = _Block(tiff)
        value = block.value(block.directory(block.first), _ORIENTATION)
    except (struct.error, ValueError):
        return UPRIGHT
    return value if value is not None and 1 <= value <= 8 else UPRIGHT


def upright_exif(tiff: bytes) -> UprightExif:
    """Sets the orientation to upright and removes the thumbnail; what is damaged stays as it is."""
    orientation, had_thumbnail = exif_orientation(tiff), False
    try:
        block = _Block(tiff)
        first = block.directory(block.first)
    except (struct.error, ValueError):
        return UprightExif(tiff, had_thumbnail=False)
    block.put(first, _ORIENTATION, UPRIGHT)
    with suppress(struct.error):  # a directory that lies outside of the block
        if orientation >= 5:
            inner = block.value(first, _EXIF_DIRECTORY)
            block.exchange(first, *_SIZES[0])
            block.exchange({} if inner is None else block.directory(inner), *_SIZES[1])
    with suppress(struct.error):
        had_thumbnail = block.remove_thumbnail()
    return UprightExif(bytes(block.content), had_thumbnail=had_thumbnail)


def upright_xmp(xmp: bytes) -> bytes:
    """The XMP packet with its orientation set to upright; its length stays."""
    return _XMP_ORIENTATION.sub(lambda found: found[1] + found[0][len(found[1]) : -1] + b"1", xmp)


class _Block:
    """A TIFF structure, read and written by the tags of its directories."""

    def __init__(self, tiff: bytes) -> None:
        self.content = bytearray(tiff)
        order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
        if order is None:
            raise ValueError(f"expected II or MM, got {tiff[:2]!r}")
        self._order = order
        self.first = self._number("I", 4)

    def directory(self, at: int) -> dict[int, int]:
        """Tag -> offset of its entry."""
        count = self._number("H", at)
        entries = range(at + 2, at + 2 + _ENTRY_BYTES * count, _ENTRY_BYTES)
        tags = [self._number("H", entry) for entry in entries]
        # The first one of a tag counts, as readers take it.
        return dict(zip(reversed(tags), reversed(entries), strict=True))

    def value(self, directory: dict[int, int], tag: int) -> int | None:
        """A single short or long."""
        if tag not in directory:
            return None
        return self._number(self._kind(directory[tag]), directory[tag] + 8)

    def put(self, directory: dict[int, int], tag: int, value: int) -> None:
        """Replaces a single short or long, where it is there."""
        if tag in directory:
            kind = self._order + self._kind(directory[tag])
            struct.pack_into(kind, self.content, directory[tag] + 8, value)

    def exchange(self, directory: dict[int, int], one: int, other: int) -> None:
        """Exchanges the type and value of two tags, where both are there."""
        if one in directory and other in directory:
            a, b = (slice(directory[tag] + 2, directory[tag] + 12) for tag in (one, other))
            self.content[a], self.content[b] = self.content[b], self.content[a]

    def remove_thumbnail(self) -> bool:
        """Unlinks the second directory and clears the JPEG that it points to."""
        link = self.first + 2 + _ENTRY_BYTES * self._number("H", self.first)
        second = self._number("I", link)
        if second == 0:
            return False
        directory = self.directory(second)
        start = self.value(directory, _THUMBNAIL)
        length = self.value(directory, _THUMBNAIL_LENGTH)
        if start and length and start + length <= len(self.content):
            self.content[start : start + length] = bytes(length)
        struct.pack_into(self._order + "I", self.content, link, 0)
        return True

    def _kind(self, entry: int) -> str:
        return "I" if self._number("H", entry + 2) == 4 else "H"

    def _number(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(self._order + kind, self.content, at)[0])

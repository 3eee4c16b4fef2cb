"""Read and change the orientation of pictures and frames: EXIF, XMP and display matrices.

Maker notes in an EXIF block contain offsets within the block. Therefore, this module overwrites
values in place, so that these offsets stay valid.

An orientation is a number that EXIF defines:

- 1 is upright.
- 3 is upside down.
- 6 requires a clockwise rotation by 90 degrees.
- 8 requires a counter-clockwise rotation by 90 degrees.
- 2, 4, 5 and 7 are mirrored.

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
    """Rotate and mirror a stored picture to upright orientation.

    Args:
        image: stored pixels, [H, W] or [H, W, C].
        orientation: EXIF orientation, 1 to 8.

    Returns:
        The same pixels as a C-contiguous array. The shape is [H, W] or [H, W, C] for orientations
        1 to 4. The shape is [W, H] or [W, H, C] for orientations 5 to 8.

    Example:
        >>> upright(np.array([[1, 2]]), 6)  # rotate by 90 degrees clockwise
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
    """Return the EXIF orientation that corresponds to the display matrix of a video.

    Args:
        matrix: nine fixed-point numbers in the format 16.16: (a b u, c d v, x y w). The stored
            point (p, q) is displayed at (a p + c q + x, b p + d q + y).

    Raises:
        ValueError: the matrix is not supported. A supported matrix is a rotation by a multiple of
            90 degrees. The rotation may be combined with mirroring.
    """
    a, b, _, c, d = np.asarray(matrix, np.float64)[:5]
    largest = max(abs(a), abs(b), 1.0)
    key = tuple(round(value / largest) for value in (a, b, c, d))
    is_quarter_turn = min(abs(a), abs(b)) < 1e-3 * largest
    if not is_quarter_turn or key not in _FROM_DISPLAY_MATRIX:
        raise ValueError(f"the display matrix {key} is not a rotation by a multiple of 90 degrees")
    return _FROM_DISPLAY_MATRIX[key]


_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_SIZES = ((0x0100, 0x0101), (0xA002, 0xA003))
"""Tags of (width, height) in the first directory (IFD 0), and in the EXIF directory."""

_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_ENTRY_BYTES = 12
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))\s*[2-8]")


@dataclass(frozen=True)
class UprightExif:
    """EXIF block for a picture that is stored in upright orientation.

    Attributes:
        block: the bytes of the block, starting at its byte-order mark.
        had_thumbnail: whether a thumbnail was removed. A thumbnail is removed because it shows
            the unedited picture.
    """

    block: bytes
    had_thumbnail: bool


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation in the first directory of an EXIF block.

    Args:
        tiff: the EXIF block, starting at its byte-order mark.

    Returns:
        The orientation, 1 to 8. If the tag is missing or the block is damaged, the orientation is
        1, as in picture viewers.
    """
    try:
        block = _Block(tiff)
        value = block.value(block.directory(block.first), _ORIENTATION)
    except (struct.error, ValueError):
        return UPRIGHT
    return value if value is not None and 1 <= value <= 8 else UPRIGHT


def upright_exif(tiff: bytes) -> UprightExif:
    """Set the orientation to upright and remove the thumbnail.

    For orientations 5 to 8, the stored width and height are exchanged. Damaged parts of the block
    stay unchanged.

    Args:
        tiff: the EXIF block, starting at its byte-order mark.
    """
    orientation, had_thumbnail = exif_orientation(tiff), False
    try:
        block = _Block(tiff)
        first = block.directory(block.first)
    except (struct.error, ValueError):
        return UprightExif(tiff, had_thumbnail=False)
    block.put(first, _ORIENTATION, UPRIGHT)
    with suppress(struct.error):  # the error occurs if an offset points outside the block
        if orientation >= 5:
            inner = block.value(first, _EXIF_DIRECTORY)
            block.exchange(first, *_SIZES[0])
            block.exchange({} if inner is None else block.directory(inner), *_SIZES[1])
    with suppress(struct.error):
        had_thumbnail = block.remove_thumbnail()
    return UprightExif(bytes(block.content), had_thumbnail=had_thumbnail)


def upright_xmp(xmp: bytes) -> bytes:
    """Set the orientation of an XMP packet to upright. The length of the packet does not change."""
    return _XMP_ORIENTATION.sub(lambda found: found[1] + found[0][len(found[1]) : -1] + b"1", xmp)


class _Block:
    """A TIFF structure whose values can be read and changed by tag.

    Attributes:
        content: the bytes of the structure, starting at its byte-order mark.
        first: offset of the first directory.
    """

    def __init__(self, tiff: bytes) -> None:
        self.content = bytearray(tiff)
        order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
        if order is None:
            raise ValueError(f"expected II or MM, got {tiff[:2]!r}")
        self._order = order
        self.first = self._number("I", 4)

    def directory(self, at: int) -> dict[int, int]:
        """Return a dictionary with the tags of a directory and the offsets of their entries.

        Args:
            at: offset of the directory.
        """
        count = self._number("H", at)
        entries = range(at + 2, at + 2 + _ENTRY_BYTES * count, _ENTRY_BYTES)
        tags = [self._number("H", entry) for entry in entries]
        # If a tag occurs several times, the first entry is used, as in other readers.
        return dict(zip(reversed(tags), reversed(entries), strict=True))

    def value(self, directory: dict[int, int], tag: int) -> int | None:
        """Return the single SHORT or LONG value of a tag. `None` means that the tag is missing."""
        if tag not in directory:
            return None
        return self._number(self._kind(directory[tag]), directory[tag] + 8)

    def put(self, directory: dict[int, int], tag: int, value: int) -> None:
        """If the block contains a tag, replace the single SHORT or LONG value of the tag."""
        if tag in directory:
            kind = self._order + self._kind(directory[tag])
            struct.pack_into(kind, self.content, directory[tag] + 8, value)

    def exchange(self, directory: dict[int, int], one: int, other: int) -> None:
        """If the block contains both tags, exchange their types and values."""
        if one in directory and other in directory:
            a, b = (slice(directory[tag] + 2, directory[tag] + 12) for tag in (one, other))
            self.content[a], self.content[b] = self.content[b], self.content[a]

    def remove_thumbnail(self) -> bool:
        """Remove the thumbnail and IFD 1, the EXIF directory that describes the thumbnail.

        The pointer to IFD 1 and the JPEG data of the thumbnail are overwritten with zeros.

        Returns:
            Whether the block contained IFD 1.
        """
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

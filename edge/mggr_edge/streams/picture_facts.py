"""What the bytes of a picture say before anybody decodes them.

OpenCV fills the missing half of a truncated JPEG with grey, shows the first
picture of an animation, applies or ignores EXIF orientation depending on the
format and on whether transparency is asked for, and drops the colour profile,
without which a phone's photograph pales. So those four are read here; and the
size, because a few bytes may unpack to more than any memory holds.

References:
    JPEG: ITU-T T.81 annex B. PNG: W3C PNG 3 (eXIf, acTL, iCCP). WebP: RFC 9649.
    Colour profiles in JPEG: ICC.1:2022 annex B.4.
    Orientation: EXIF 2.32, tag 0x0112 of IFD 0.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, replace

from mggr_edge.streams.orientation import UPRIGHT

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_AFTER_PNG_HEADER = len(_PNG_MAGIC) + 12 + 13
_JPEG_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The first marker after entropy-coded data: no stuffing, no fill byte, no restart."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame's header: those of tables and of arithmetic coding lie between them."""

_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that nothing belongs to, not even a length."""


@dataclass(frozen=True)
class PictureFacts:
    """What a file says about its picture.

    Attributes:
        orientation: EXIF's number, 1 to 8.
        format: "JPEG", "PNG", "WebP" or "BMP"; empty for any other.
        size: (height, width) as declared; (0, 0) where nothing is.
        scans: (JPEG) how many times the picture is gone over.
        complete: the file has an end, and (PNG) its checksums are right.
        animated: it holds more than one picture.
        profile: the colour profile as it stands in the file, with the marker or
            chunk that holds it; empty when there is none.
    """

    format: str = ""
    size: tuple[int, int] = (0, 0)
    scans: int = 0
    orientation: int = UPRIGHT
    complete: bool = True
    animated: bool = False
    profile: bytes = b""


def picture_facts(content: bytes) -> PictureFacts:
    """Reads the facts; of formats that it does not know it says nothing against them."""
    try:
        if content.startswith(b"\xff\xd8"):
            return _jpeg_facts(content)
        if content.startswith(_PNG_MAGIC):
            return _png_facts(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp_facts(content)
        if content.startswith(b"BM"):
            return _bmp_facts(content)
    except (struct.error, IndexError):  # the walk ran past the end
        return PictureFacts(complete=False)
    return PictureFacts()


def with_profile(content: bytes, profile: bytes) -> bytes | None:
    """Puts a colour profile into an encoded picture of the format that it was taken from.

    Args:
        content: a JPEG or PNG without a profile.
        profile: as in `PictureFacts`.

    Returns:
        The picture with the profile; None where the profile is of another format,
        or WebP's, which would need another kind of header.
    """
    if content.startswith(b"\xff\xd8\xff\xe0") and profile.startswith(b"\xff\xe2"):
        (length,) = struct.unpack_from(">H", content, 4)  # JFIF's own segment stays first
        return content[: 4 + length] + profile + content[4 + length :]
    if content.startswith(_PNG_MAGIC) and profile[4:8] == b"iCCP":
        return content[:_AFTER_PNG_HEADER] + profile + content[_AFTER_PNG_HEADER:]
    return None


def _jpeg_facts(content: bytes) -> PictureFacts:
    facts, at = PictureFacts("JPEG"), 2
    while True:
        while content[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        lead, marker = content[at], content[at + 1]
        if lead != 0xFF:
            return replace(facts, complete=False)
        if marker == 0xD9:  # end of image
            return facts
        if marker in _JPEG_ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        segment = content[at + 4 : at + 2 + length]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">xHH", segment)
            facts = replace(facts, size=_larger(facts.size, (height, width)))
        if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            facts = replace(facts, orientation=exif_orientation(segment[6:]))
        if marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0"):
            facts = replace(facts, profile=facts.profile + content[at : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:  # start of scan: entropy-coded data follow
            facts = replace(facts, scans=facts.scans + 1)
            after = _JPEG_AFTER_SCAN.search(content, at)
            if after is None:
                return replace(facts, complete=False)
            at = after.start()


def _png_facts(content: bytes) -> PictureFacts:
    facts, at = PictureFacts("PNG"), len(_PNG_MAGIC)
    while True:
        length, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        if checksum != zlib.crc32(data, zlib.crc32(kind)):
            return replace(facts, complete=False)
        if kind == b"IEND":
            return facts
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", data)
            facts = replace(facts, size=_larger(facts.size, (height, width)))
        if kind == b"eXIf":
            facts = replace(facts, orientation=exif_orientation(data))
        if kind == b"iCCP":
            facts = replace(facts, profile=content[at : at + 12 + length])
        if kind == b"acTL":
            facts = replace(facts, animated=True)
        at += 12 + length


def _webp_facts(content: bytes) -> PictureFacts:
    (size,) = struct.unpack_from("<I", content, 4)
    facts, at, end = (
        PictureFacts("WebP", complete=len(content) >= size + 8),
        12,
        min(len(content), size + 8),
    )
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, at)
        data = content[at + 8 : at + 8 + length]
        facts = replace(facts, size=_larger(facts.size, _webp_size(kind, data)))
        if kind == b"VP8X" and data:
            facts = replace(facts, animated=bool(data[0] & 0x02))
        if kind == b"EXIF":
            facts = replace(facts, orientation=exif_orientation(data.removeprefix(b"Exif\0\0")))
        if kind == b"ICCP":
            facts = replace(facts, profile=content[at : at + 8 + length])
        at += 8 + length + length % 2
    return facts


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int]:
    """(height, width) that a chunk declares; (0, 0) where it declares none."""
    if kind == b"VP8X" and len(data) >= 10:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
        return height, width
    if kind == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return height & 0x3FFF, width & 0x3FFF
    return 0, 0


def _bmp_facts(content: bytes) -> PictureFacts:
    length, info = struct.unpack_from("<I8xI", content, 2)
    if info == 12:  # OS/2's header has short numbers
        width, height = struct.unpack_from("<Hh", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    size = abs(height), abs(width)  # rows from the top down have a negative height
    return PictureFacts("BMP", size, complete=len(content) >= length)


def _larger(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Of what a file says in two places."""
    return max(one, other, key=lambda size: size[0] * size[1])


def exif_orientation(tiff: bytes) -> int:
    """Reads tag 0x0112 of the first directory.

    Args:
        tiff: the EXIF block from its byte-order mark on.

    Returns:
        1 to 8; 1 when the tag is absent or the block is damaged, as viewers do.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        return UPRIGHT
    return UPRIGHT

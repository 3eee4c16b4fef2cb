"""Examine the structure of a picture file. Decoders do not report some defects of the structure.

Decoders fill the missing part of a truncated JPEG with grey. Decoders ignore the checksums of PNG
chunks. Decoders accept a JPEG with any number of scans. Pillow reads all other properties of a
file; see `picture_pixels`.

References:
    JPEG: ITU-T T.81 annex B and G. PNG: W3C PNG 3. WebP: RFC 9649.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8"

_JPEG_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Pattern that finds the first marker after entropy-coded data.

Byte stuffing, fill bytes and restart markers do not match the pattern."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers.

Three other markers in this range are excluded: Huffman tables (C4), the reserved marker C8, and
arithmetic coding conditions (CC)."""

_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that have no length field and no data."""

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENTS = 64


@dataclass(frozen=True)
class PictureFacts:
    """Structure of a picture file.

    Attributes:
        complete: whether the end of the file is present. For a PNG, all checksums must also be
            correct. For formats that this module does not examine, the value is `True`.
        end: JPEG only: offset of the first byte after the end marker. `None` means that the marker
            is missing.
        scans: JPEG only: number of scans. A scan is one pass over the picture.
        is_progressive: JPEG only: whether the encoding is progressive. Every scan of a progressive
            JPEG covers the whole picture.
        is_sharp: JPEG only: whether the complete scans contain at least the upper bits of every
            coefficient. If so, a truncated progressive picture lacks only fine details.
        lossless: WebP only: whether the picture is encoded without loss.
    """

    complete: bool = True
    end: int | None = None
    scans: int = 0
    is_progressive: bool = False
    is_sharp: bool = False
    lossless: bool = False


def picture_facts(content: bytes) -> PictureFacts:
    """Return the structural properties of a JPEG, PNG or WebP file.

    For other formats, the result contains the default values.
    """
    if content.startswith(JPEG_MAGIC):
        return _jpeg_facts(content)
    if content.startswith(PNG_MAGIC):
        return PictureFacts(complete=_is_whole_png(content))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_facts(content)
    return PictureFacts()


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, data) for each chunk of a PNG, including the end chunk.

    Raises:
        ValueError: a checksum is wrong, or the file ends before its end chunk.
    """
    at = len(PNG_MAGIC)
    while True:
        try:
            length, kind = struct.unpack_from(">I4s", content, at)
            (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        except struct.error as error:
            raise ValueError("the PNG ends before its end chunk") from error
        data = content[at + 8 : at + 8 + length]
        if checksum != zlib.crc32(data, zlib.crc32(kind)):
            raise ValueError(f"the checksum of the PNG chunk {kind!r} is wrong")
        yield kind, data
        if kind == b"IEND":
            return
        at += 12 + length


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return the bytes of a PNG chunk with length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@dataclass
class _Scans:
    """Record of the scans of a JPEG, and of the coefficients that the complete scans contain.

    A component is a colour channel. Each block of a component has 64 coefficients.

    Attributes:
        components: identifiers of the components in the frame header.
        is_progressive: whether the frame header is progressive.
        count: number of scans that have started.
        current: (components, coefficients) of the scan that started last.
        held: for each component, the coefficients in the complete scans.
    """

    components: tuple[int, ...] = ()
    is_progressive: bool = False
    count: int = 0
    current: tuple[tuple[int, ...], range] = ((), range(0))
    held: dict[int, set[int]] = field(default_factory=dict)

    def frame(self, marker: int, segment: bytes) -> None:
        self.is_progressive = marker in _PROGRESSIVE
        self.components = tuple(segment[6 + 3 * n] for n in range(segment[5]))

    def begin(self, segment: bytes) -> None:
        self.count += 1
        count = segment[0]
        first, last = segment[1 + 2 * count], segment[2 + 2 * count]
        self.current = tuple(segment[1 + 2 * n] for n in range(count)), range(first, last + 1)

    def end(self) -> None:
        components, coefficients = self.current
        for component in components:
            self.held.setdefault(component, set()).update(coefficients)

    def facts(self, end: int | None) -> PictureFacts:
        held = [len(self.held.get(one, ())) for one in self.components]
        return PictureFacts(
            complete=end is not None,
            end=end,
            scans=self.count,
            is_progressive=self.is_progressive,
            is_sharp=bool(held) and min(held) == _COEFFICIENTS,
        )


def _jpeg_facts(content: bytes) -> PictureFacts:
    scans, at = _Scans(), len(JPEG_MAGIC)
    try:
        while True:
            while content[at : at + 2] == b"\xff\xff":  # skip fill bytes
                at += 1
            lead, marker = content[at], content[at + 1]
            if lead != 0xFF:
                return scans.facts(None)
            if marker == 0xD9:  # end of image
                return scans.facts(at + 2)
            if marker in _JPEG_ALONE:
                at += 2
                continue
            (length,) = struct.unpack_from(">H", content, at + 2)
            segment = content[at + 4 : at + 2 + length]
            at += 2 + length
            if marker in _JPEG_FRAMES:
                scans.frame(marker, segment)
            if marker == 0xDA:  # start of scan, followed by entropy-coded data
                scans.begin(segment)
                after = _JPEG_AFTER_SCAN.search(content, at)
                if after is None:
                    return scans.facts(None)
                scans.end()
                at = after.start()
    except (struct.error, IndexError):  # the file ends inside a segment
        return scans.facts(None)


def _is_whole_png(content: bytes) -> bool:
    try:
        for _ in png_chunks(content):
            pass
    except ValueError:
        return False
    return True


def _webp_facts(content: bytes) -> PictureFacts:
    size = int.from_bytes(content[4:8], "little")
    at, end, lossless = 12, min(len(content), size + 8), False
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind in (b"VP8 ", b"VP8L"):
            lossless = kind == b"VP8L"
            break
        # An animation frame (ANMF) begins with 16 bytes of frame parameters. Chunks follow.
        at += 24 if kind == b"ANMF" else 8 + length + length % 2
    return PictureFacts(complete=len(content) >= size + 8, lossless=lossless)

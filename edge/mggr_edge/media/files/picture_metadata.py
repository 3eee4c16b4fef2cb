"""Read the metadata of picture files, and prepare metadata for the output format.

If a JPEG is written as a JPEG, the segments are copied unchanged. If a PNG is written as a PNG, the
chunks are copied unchanged. If the format changes, these metadata are copied: colour profile, EXIF,
XMP, resolution and text fields. If the output format has no field for a kind of metadata, this kind
is lost.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mggr_edge.media.files.exif import upright_exif, upright_xmp
from mggr_edge.media.files.picture_facts import PNG_MAGIC, png_chunk, png_chunks

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_ICC, _MPF, _JFIF = b"ICC_PROFILE\0", b"MPF\0", b"JFIF\0"
_RAW_PROFILE = "Raw profile type exif"
"""Keyword of a PNG text chunk that contains an EXIF block."""
PNG_XMP = b"XML:com.adobe.xmp\0"
_PNG_BLOCKS = (PNG_XMP[:-1], _RAW_PROFILE.encode())
"""Keywords of PNG text chunks that contain a metadata block instead of a text."""
_LONGEST_SEGMENT = 0xFFFF - 2

_PNG_KEPT = frozenset(
    (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"eXIf", b"pHYs", b"sPLT")
    + (b"tEXt", b"zTXt", b"iTXt")
)
_PNG_PIXELS = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"sBIT", b"hIST")
)
"""Chunks that describe how the pixels are stored.

These chunks are not copied, because the encoder writes new chunks of these kinds."""

_PNG_COLOURS = ("cICP", "gAMA", "cHRM", "mDCV", "cLLI")

_PHOTOSHOP = b"Photoshop 3.0\0"
_PHOTOSHOP_THUMBNAILS = (0x0409, 0x040C)
_PADDING = b"\0\xff\r\n\t "
_FURTHER = "further pictures of the file (such as a gain map or a depth map)"
_CREDENTIALS = "content credentials (C2PA), which are valid only for the unedited picture"

_STRUCTURAL_TAGS = (
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281),
    *(284, 290, 291, 292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325, 330, 332, 338, 339),
    *(340, 341, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675),
)
"""TIFF tags that are not copied.

These tags describe how the pixels are stored, or `Metadata` has a separate field for them."""

_SUB_DIRECTORIES = (0x8769, 0x8825)
"""Tags of the sub-directories of EXIF: the EXIF directory and the GPS directory."""

_HOLDS = {
    "JPEG": frozenset(("profile", "exif", "xmp", "dpi", "comment")),
    "PNG": frozenset(("profile", "exif", "xmp", "dpi", "comment", "texts")),
    "WEBP": frozenset(("profile", "exif", "xmp")),
    "AVIF": frozenset(("profile", "exif", "xmp")),
    "TIFF": frozenset(("profile", "exif", "xmp", "dpi")),
    "GIF": frozenset(("comment",)),
    "BMP": frozenset(("dpi",)),
}
_NAMES = {
    "profile": "colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "dpi": "resolution (dpi)",
    "comment": "comment",
    "texts": "text fields",
}


@dataclass(frozen=True)
class Metadata:
    """Metadata of a picture file, with the orientation set to upright.

    Attributes:
        format: Pillow's name of the format. The name is empty for a picture that was not read from
            a file.
        profile: ICC colour profile.
        exif: EXIF block, starting at its byte-order mark.
        xmp: XMP packet.
        dpi: resolution (horizontal, vertical) in dots per inch. `None` means that the file does
            not state the resolution.
        comment: comment of a JPEG or GIF.
        texts: (key, text) pairs of the text fields of a PNG.
        density: JPEG only: unit and density in the format of JFIF, 5 bytes.
        segments: JPEG only: all other segments that are kept, with markers and lengths.
        chunks: PNG only: kind and data of all optional ("ancillary") chunks that are kept.
        lost: names of the metadata that are lost in every output format.
    """

    format: str = ""
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes = b""
    texts: tuple[tuple[str, str], ...] = ()
    density: bytes = b""
    segments: tuple[bytes, ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def profile_space(self) -> str:
        """Colour space of the profile, for example "RGB", "GRAY" or "CMYK".

        Without a profile, the text is empty.
        """
        return self.profile[16:20].decode("latin-1").strip()

    def lost_in(self, output_format: str) -> tuple[str, ...]:
        """Return the names of the metadata that are lost in the given output format.

        Args:
            output_format: Pillow's name of the format.
        """
        holds = _HOLDS[output_format]
        lost = [_NAMES[name] for name in _NAMES if getattr(self, name) and name not in holds]
        if output_format != self.format:
            lost += [_segment_name(one) for one in self.segments if one[1] != 0xFE]
            kinds = {kind.decode("latin-1") for kind, _ in self.chunks}
            # If the PNG has a chunk "sRGB", the colours of the picture are sRGB. The other formats
            # have sRGB as the default colour space. The loss of the colour chunks then does not
            # matter.
            if "sRGB" not in kinds:
                lost += [f"PNG chunk {kind}" for kind in _PNG_COLOURS if kind in kinds]
        return (*self.lost, *dict.fromkeys(lost))


def tiff_exif(image: Any) -> bytes:
    """Return the EXIF block of an opened TIFF, without the tags in `_STRUCTURAL_TAGS`.

    Args:
        image: a `PIL.Image.Image` whose pixels are not loaded yet. (Loading closes the file.)

    Returns:
        The block, starting at its byte-order mark. If no tags remain, the block is empty.
    """
    exif = image.getexif()
    directories = {tag: dict(exif.get_ifd(tag)) for tag in _SUB_DIRECTORIES if tag in exif}
    made = type(exif)()
    made.update({tag: exif[tag] for tag in exif if tag not in (*_STRUCTURAL_TAGS, *directories)})
    for tag, values in directories.items():
        made.get_ifd(tag).update(values)
    return bytes(made.tobytes()).removeprefix(_EXIF) if made or directories else b""


def metadata_of(
    image: Any, content: bytes, *, exif_block: bytes, end: int | None = None
) -> Metadata:
    """Return the metadata of an image that Pillow has loaded.

    Args:
        image: a loaded `PIL.Image.Image`.
        content: the bytes of the file.
        exif_block: the unmodified EXIF block of the file, starting at its byte-order mark.
        end: offset of the first byte after the picture. Other data may follow there. `None` means
            that the offset is unknown.
    """
    info = image.info
    file_format = "JPEG" if image.format == "MPO" else image.format
    lost: list[str] = []
    exif = upright_exif(exif_block)
    if exif.had_thumbnail:
        lost.append("EXIF thumbnail, which shows the unedited picture")
    segments, density, chunks = [], b"", []
    if file_format == "JPEG":
        density = next((d[7:12] for n, d in image.applist if n == "APP0" and d[:5] == _JFIF), b"")
        segments = list(_kept_segments(image.applist, lost))
        if image.format == "MPO":
            lost.append(_FURTHER)
        elif end is not None and content[end:].strip(_PADDING):
            lost.append("data after the picture (such as the video of a motion photo)")
    if file_format == "PNG":
        chunks = list(_kept_chunks(content, exif.block, lost))
    xmp = info.get("xmp") or b""
    comment = info.get("comment") or b""
    texts = getattr(image, "text", {}) if file_format == "PNG" else {}
    return Metadata(
        format=file_format,
        profile=info.get("icc_profile") or b"",
        exif=exif.block,
        xmp=upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp),
        dpi=_dpi_of(info),
        comment=comment.encode() if isinstance(comment, str) else comment,
        texts=tuple((k, str(v)) for k, v in texts.items() if k.encode() not in _PNG_BLOCKS),
        density=density,
        segments=tuple(segments),
        chunks=tuple(chunks),
        lost=tuple(dict.fromkeys(lost)),
    )


def jpeg_segments(metadata: Metadata) -> tuple[bytes, tuple[str, ...]]:
    """Return the segments with the metadata for a JPEG.

    The segments do not include the colour profile, because the encoder writes the profile.

    Returns:
        (segments, names). `segments` are the concatenated segments with markers and lengths.
        `names` lists the metadata that are lost because they are too long for a segment.
    """
    lost, parts = [], []
    for name, data in (("EXIF", metadata.exif), ("XMP", metadata.xmp)):
        prefix = _EXIF if name == "EXIF" else _XMP
        if data and len(prefix) + len(data) > _LONGEST_SEGMENT:
            lost.append(name)
        elif data:
            parts.append(_segment(0xE1, prefix + data))
    if metadata.format != "JPEG" and metadata.comment:
        parts.append(_segment(0xFE, metadata.comment[:_LONGEST_SEGMENT]))
    return b"".join((*parts, *metadata.segments)), tuple(lost)


def with_png_chunks(content: bytes, metadata: Metadata, *, profile: bytes) -> bytes:
    """Insert metadata into an encoded PNG that has no metadata.

    Args:
        content: the bytes of the PNG.
        metadata: the metadata to insert.
        profile: the colour profile to insert. If this is empty, no profile is inserted. The profile
            is a separate argument, because the profile in `metadata` may belong to another colour
            model than that of the PNG.

    Returns:
        The bytes of the PNG with metadata.
    """
    chunks = metadata.chunks if metadata.format == "PNG" else tuple(_made_chunks(metadata))
    chunks = tuple((kind, data) for kind, data in chunks if kind != b"iCCP" or profile)
    if profile and not any(kind == b"iCCP" for kind, _ in chunks):
        chunks = ((b"iCCP", b"icc\0\0" + zlib.compress(profile)), *chunks)
    after_header = len(PNG_MAGIC) + 12 + 13
    parts = b"".join(png_chunk(kind, data) for kind, data in chunks)
    return content[:after_header] + parts + content[after_header:]


def exif_of(image: Any) -> bytes:
    """Return the EXIF block of a loaded image that is not a TIFF; see `tiff_exif` for a TIFF.

    The block starts at its byte-order mark. If the image has no EXIF block, the result is empty.
    ImageMagick and GIMP store the block of a PNG as hexadecimal text with three header lines.
    """
    block = bytes(image.info.get("exif") or b"")
    if not block and (text := image.info.get(_RAW_PROFILE)):
        try:
            block = bytes.fromhex("".join(str(text).split("\n")[3:]))
        except ValueError:
            block = b""
    return block.removeprefix(_EXIF)


def _dpi_of(info: dict[str, Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if x > 0 and y > 0 else None


def _kept_segments(applist: list[tuple[str, bytes]], lost: list[str]) -> Iterator[bytes]:
    """Yield the JPEG segments that are kept.

    The segments with the colour profile, EXIF and XMP are skipped, because Pillow reads them.

    Args:
        applist: (name, data) of the segments, as read by Pillow.
        lost: list of the names of lost metadata. The function appends the names of dropped
            segments.
    """
    for name, data in applist:
        if name == "APP0" and not data.startswith(_JFIF):
            lost.append("JFIF thumbnail, which shows the unedited picture")
        elif name == "APP2" and data.startswith(_MPF):
            lost.append(_FURTHER)
        elif name == "APP11":
            lost.append(_CREDENTIALS)
        elif name == "APP13":
            yield _segment(0xED, _without_thumbnail(data, lost))
        elif name == "COM":
            yield _segment(0xFE, data)
        elif name in ("APP0", "APP14") or data.startswith((_EXIF, _XMP, _ICC)):
            continue  # the encoder writes these segments
        else:
            yield _segment(0xE0 + int(name[3:]), data)


def _without_thumbnail(data: bytes, lost: list[str]) -> bytes:
    """Return Photoshop's image resources without thumbnails. Damaged data are not changed.

    Args:
        data: the data of an APP13 segment.
        lost: list of the names of lost metadata. The function appends a name for each thumbnail.
    """
    at = len(_PHOTOSHOP)
    kept = [data[:at]]
    while data.startswith(_PHOTOSHOP) and data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        name_length = data[at + 6] + 1
        size_at = at + 6 + name_length + name_length % 2
        size = int.from_bytes(data[size_at : size_at + 4], "big")
        end = size_at + 4 + size + size % 2
        if int.from_bytes(data[at + 4 : at + 6], "big") in _PHOTOSHOP_THUMBNAILS:
            lost.append("Photoshop thumbnail, which shows the unedited picture")
        else:
            kept.append(data[at:end])
        at = end
    return b"".join((*kept, data[at:]))


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def _segment_name(segment: bytes) -> str:
    number = segment[1] - 0xE0
    return "IPTC and Photoshop data" if number == 13 else f"JPEG segment APP{number}"


def _kept_chunks(content: bytes, exif: bytes, lost: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the optional ("ancillary") chunks of a PNG that are kept.

    The name of a chunk states whether a program may copy the chunk after an edit of the picture. If
    the name of an unknown chunk allows this, the chunk is kept.

    Args:
        content: the bytes of the PNG.
        exif: the EXIF block with upright orientation. This block replaces the block in the file.
        lost: list of the names of lost metadata. The function appends the names of dropped chunks.
    """
    chunks = list(png_chunks(content))
    has_exif = any(kind == b"eXIf" for kind, _ in chunks)
    for kind, data in chunks:
        if kind in _PNG_PIXELS:
            continue
        if kind == b"eXIf":
            yield kind, exif
        elif kind == b"iTXt" and data.startswith(PNG_XMP):
            yield kind, upright_xmp(data)
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and data.startswith(_RAW_PROFILE.encode() + b"\0"):
            if not exif:  # the block cannot be read
                yield kind, data
            elif not has_exif:
                yield b"eXIf", exif
        elif kind in _PNG_KEPT or kind[3:4].islower():
            yield kind, data
        elif kind == b"caBX":
            lost.append(_CREDENTIALS)
        else:
            lost.append(f"PNG chunk {kind.decode('latin-1')}")


def _made_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """Yield PNG chunks with the metadata of a file that has another format."""
    if metadata.dpi is not None:
        x, y = (round(dpi / 0.0254) for dpi in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", min(x, 2**31 - 1), min(y, 2**31 - 1), 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", PNG_XMP + bytes(4) + metadata.xmp
    if metadata.comment:
        text = metadata.comment.decode("utf-8", errors="replace")
        yield b"iTXt", b"Comment\0" + bytes(4) + text.replace("\0", "").encode()

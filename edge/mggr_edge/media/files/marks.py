"""Mark files as altered, in a form that other programs can read.

The mark is an XMP packet with two properties: the IPTC property `DigitalSourceType` [1], and a
sentence in the description (`dc:description`). The value of `DigitalSourceType` means that a
trained model has created a part of the picture.

All other properties of an existing packet are kept. This module inserts text into the packet and
does not parse it as XML, because a packet can contain any XML, including attacks on XML parsers.

References:
    [1] IPTC Photo Metadata Standard, property Digital Source Type; the values are in the IPTC
        NewsCodes vocabulary `digitalsourcetype`.
    [2] ISO 16684-1 (XMP), and XMP Specification Part 3 (storage in files).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from mggr_edge.common import __version__
from mggr_edge.media.files.picture_metadata import PNG_XMP, Metadata
from mggr_edge.media.files.written import boxes

REDIRECTED = f"gaze redirected by mggr-tf {__version__}"
"""Sentence in the metadata of an output file. The sentence marks the gaze as altered."""

ESTIMATED = f"gaze estimated, not altered, by mggr-tf {__version__}"
"""Sentence in the metadata of an output file with drawn annotations. The eyes are unaltered."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Value of `DigitalSourceType`: a composite of captured and generated elements."""

_IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
_END_OF_RDF = re.compile(r"</[\w.-]+:RDF\s*>")
_SOURCE_TYPE_ATTRIBUTE = re.compile(
    r"\s[\w.-]+:DigitalSourceType\s*=\s*([\"'])(?P<value>[^\"'<>]*)\1"
)
_RESOURCE = re.compile(r"resource\s*=\s*[\"']([^\"']*)[\"']")
_PADDING = re.compile(r"\s+(<\?xpacket end=)")
_LONGEST_JPEG_PACKET = 65_502
"""Maximum number of bytes of an XMP packet in a JPEG segment."""

_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Type of the box `uuid` that contains XMP in MP4 and QuickTime files."""

BOXED_SUFFIXES = frozenset((".mp4", ".mov", ".m4v"))
"""Suffixes of the video files that can contain the mark as XMP. Other videos have a comment."""

_WITHOUT_XMP = {".gif": "comment", ".bmp": ""}
"""Suffixes of the picture files that cannot contain XMP, and the property with the sentence."""


@dataclass(frozen=True)
class Mark:
    """The mark of a file.

    Attributes:
        source_type: value of the IPTC property `DigitalSourceType`; empty if it is missing.
        description: text of the XMP description; empty if it is missing.
    """

    source_type: str = ""
    description: str = ""


def marked_xmp(xmp: bytes, sentence: str = REDIRECTED) -> bytes:
    """Return an XMP packet with the mark.

    If the packet has a description, the sentence is added to it. If the packet cannot be read, it
    is replaced.

    Args:
        xmp: existing packet; empty if there is none.
        sentence: sentence for the description.
    """
    text = _text_of(xmp)
    if _END_OF_RDF.search(text) is None:
        text = _PACKET
    text = _SOURCE_TYPE_ATTRIBUTE.sub("", text)
    while (found := _element(text, "DigitalSourceType")) is not None:
        text = text[: found.start] + text[found.end :]
    described = _element(text, "description")
    description = ""
    if described is not None and _element(described.content, "li") is not None:
        text = text[: described.start] + _with_sentence(described, sentence) + text[described.end :]
    else:
        if described is not None:
            text = text[: described.start] + text[described.end :]
        description = (
            "<dc:description><rdf:Alt>"
            f'<rdf:li xml:lang="x-default">{escape(sentence)}</rdf:li>'
            "</rdf:Alt></dc:description>"
        )
    end = [found.start() for found in _END_OF_RDF.finditer(text)][-1]
    ours = (
        '<rdf:Description rdf:about="" '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'xmlns:Iptc4xmpExt="{_IPTC_NAMESPACE}">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"{description}</rdf:Description>\n"
    )
    return (text[:end] + ours + text[end:]).encode()


def read_mark(xmp: bytes) -> Mark:
    """Return the mark in an XMP packet. The packet can come from any program."""
    text = _text_of(xmp)
    attribute = _SOURCE_TYPE_ATTRIBUTE.search(text)
    element = _element(text, "DigitalSourceType")
    source_type = ""
    if attribute is not None:
        source_type = attribute["value"]
    elif element is not None:
        resource = _RESOURCE.search(element.attributes)
        source_type = resource[1] if resource else element.content
    described = _element(text, "description")
    shown = None if described is None else _element(described.content, "li")
    return Mark(unescape(source_type.strip()), "" if shown is None else unescape(shown.content))


def marked(metadata: Metadata, suffix: str, sentence: str = REDIRECTED) -> Metadata:
    """Return the metadata of a picture with the mark, for an output with this suffix.

    A GIF has no XMP, so the sentence is added to its comment. A BMP cannot have any mark. The
    attribute `lost` of the result then names the mark.
    """
    instead = _WITHOUT_XMP.get(suffix.lower())
    if instead == "comment":
        before = metadata.comment.decode("utf-8", errors="replace")
        if sentence in before:
            return metadata
        comment = f"{before}; {sentence}" if before else sentence
        return replace(metadata, comment=comment.encode())
    if instead is not None:
        return replace(metadata, lost=(*metadata.lost, "mark of the redirection"))
    xmp = marked_xmp(metadata.xmp, sentence)
    if len(xmp) > _LONGEST_JPEG_PACKET and suffix.lower() in (".jpg", ".jpeg"):
        xmp = _PADDING.sub(r"\1", xmp.decode()).encode()
        if len(xmp) > _LONGEST_JPEG_PACKET:
            metadata = replace(metadata, lost=(*metadata.lost, "XMP (too long)"))
            xmp = marked_xmp(b"", sentence)
    chunks = tuple(one for one in metadata.chunks if not _is_xmp(*one))
    if metadata.format == "PNG":
        chunks += ((b"iTXt", PNG_XMP + bytes(4) + xmp),)
    return replace(metadata, xmp=xmp, chunks=chunks)


def append_xmp_box(path: Path, xmp: bytes) -> None:
    """Append a box with an XMP packet to a complete MP4 or QuickTime file.

    Raises:
        OSError: the file cannot be written.
    """
    content = _XMP_BOX + xmp
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)


def xmp_of_boxes(path: Path) -> bytes:
    """Return the XMP packet of an MP4 or QuickTime file; empty if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for box in boxes(file):
            if box.kind == b"uuid":
                file.seek(box.content)
                if file.read(len(_XMP_BOX)) == _XMP_BOX:
                    return file.read(box.end - box.content - len(_XMP_BOX))
    return b""


def _text_of(xmp: bytes) -> str:
    try:
        return xmp.decode("utf-8")
    except UnicodeDecodeError:
        return ""


@dataclass(frozen=True)
class _Element:
    """An XML element in a text: its offsets, its attributes, and the text inside."""

    start: int
    end: int
    tag: str
    attributes: str
    content: str


def _element(text: str, name: str) -> _Element | None:
    """Return the first complete element with a local name, such as `description`."""
    without_end: set[str] = set()
    for found in re.finditer(rf"<([\w.-]+:{name})(?=[\s/>])([^<>]*)>", text):
        tag, attributes = found[1], found[2]
        if attributes.endswith("/"):
            return _Element(found.start(), found.end(), tag, attributes[:-1], "")
        if tag in without_end:
            continue
        close = text.find(f"</{tag}", found.end())
        end = text.find(">", close) + 1 if close >= 0 else 0
        if end:
            return _Element(found.start(), end, tag, attributes, text[found.end() : close])
        without_end.add(tag)
    return None


def _with_sentence(described: _Element, sentence: str) -> str:
    """Return the element of the description with the sentence in each language."""
    rest, made = described.content, ""
    while (item := _element(rest, "li")) is not None:
        before = item.content.rstrip()
        joined = f"{before}; {escape(sentence)}" if before else escape(sentence)
        shown = item.content if escape(sentence) in before else joined
        made += f"{rest[: item.start]}<{item.tag}{item.attributes}>{shown}</{item.tag}>"
        rest = rest[item.end :]
    return f"<{described.tag}{described.attributes}>{made}{rest}</{described.tag}>"


def _is_xmp(kind: bytes, data: bytes) -> bool:
    return kind == b"iTXt" and data.startswith(PNG_XMP)

"""Pictures: damaged, of odd modes, larger than they are, and of other formats than they say."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fuzzing import Case, Rng, output_for
from fuzzing_bytes import damaged
from ramps import smooth_picture

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".avif")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def make_image_case(rng: Rng, folder: Path) -> Case:
    """A picture, or a folder of one that is sound and some that may not be."""
    if rng.random() < 0.15:
        return _folder_case(rng, folder)
    content, suffix, what = _picture(rng)
    suffix, what = _named(rng, suffix, what)
    (folder / f"me{suffix}").write_bytes(content)
    wanted = suffix if rng.random() < 0.8 else str(rng.choice(_SUFFIXES))
    arguments, writes = output_for(rng, folder, wanted)
    return Case((f"me{suffix}", *arguments), writes, what=what)


def _folder_case(rng: Rng, folder: Path) -> Case:
    (folder / "in").mkdir()
    whats = []
    for number in range(int(rng.integers(1, 4))):
        content, suffix, what = _picture(rng)
        (folder / "in" / f"{number}{suffix}").write_bytes(content)
        whats.append(what)
    if rng.random() < 0.7:
        (folder / "in" / "sound.png").write_bytes(_encoded("rgb", ".png"))
    named = rng.random() < 0.7
    arguments = ("in", "out") if named else ("in",)
    return Case(arguments, "out" if named else "in-redirected", what=", ".join(whats))


def _named(rng: Rng, suffix: str, what: str) -> tuple[str, str]:
    """Now and then with another format's suffix."""
    if rng.random() < 0.85:
        return suffix, what
    other = str(rng.choice(_SUFFIXES))
    return other, f"{what}, named {other}"


def _picture(rng: Rng) -> tuple[bytes, str, str]:
    make = _KINDS[rng.integers(len(_KINDS))]
    return make(rng)


# Kinds: each gives bytes, suffix, and what it is.


def _damaged_picture(rng: Rng) -> tuple[bytes, str, str]:
    mode, suffix = _MODES[rng.integers(len(_MODES))]
    content, how = damaged(rng, _encoded(mode, suffix))
    return content, suffix, f"{mode} {suffix} {how}"


def _odd_mode(rng: Rng) -> tuple[bytes, str, str]:
    mode, suffix = _MODES[rng.integers(len(_MODES))]
    return _encoded(mode, suffix), suffix, f"{mode} {suffix}"


def _png_with_right_checksums(rng: Rng) -> tuple[bytes, str, str]:
    """Damage that checksums do not tell: a chunk is damaged, and its checksum made right."""
    mode = ("rgb", "grey", "alpha", "palette", "deep")[rng.integers(5)]
    chunks = _chunks(_encoded(mode, ".png"))
    at = int(rng.integers(len(chunks)))
    kind, data = chunks[at]
    data, how = damaged(rng, data or b"\0")
    chunks[at] = (kind, data)
    return _png(chunks), ".png", f"{kind.decode()} of a {mode} PNG {how}"


def _vast(rng: Rng) -> tuple[bytes, str, str]:
    """So large that it could not be held; in few bytes."""
    make, suffix = _VAST[rng.integers(len(_VAST))]
    height, width = (int(n) for n in rng.choice([3_000, 12_000, 30_000, 65_500], 2))
    if rng.random() < 0.1:
        height = 0
    return make(height, width), suffix, f"{height} x {width} {suffix}"


def _vast_and_whole(rng: Rng) -> tuple[bytes, str, str]:
    """The same, and every pixel of it is there."""
    content, suffix = _WHOLE[rng.integers(len(_WHOLE))]()
    return content, suffix, f"vast and whole {suffix}"


def _odd_exif(rng: Rng) -> tuple[bytes, str, str]:
    block = _exif(rng)
    if rng.random() < 0.5:
        segment = b"Exif\0\0" + block
        return _jpeg_with(0xE1, segment), ".jpg", "a JPEG with odd EXIF"
    chunks = _chunks(_encoded("rgb", ".png"))
    return _png([chunks[0], (b"eXIf", block), *chunks[1:]]), ".png", "a PNG with odd EXIF"


def _odd_profile(rng: Rng) -> tuple[bytes, str, str]:
    profile = rng.bytes(int(rng.integers(0, 4000)))
    match rng.integers(4):
        case 0:
            numbers = bytes(rng.integers(0, 256, 2, np.uint8))
            segment = b"ICC_PROFILE\0" + numbers + profile
            return _jpeg_with(0xE2, segment), ".jpg", "a JPEG with an odd profile"
        case 1:
            segment = b"ICC_PROFILE\0"[: int(rng.integers(13))]
            return _jpeg_with(0xE2, segment), ".jpg", "a JPEG with a profile cut short"
        case 2:
            data = b"name\0\0" + zlib.compress(bytes(20_000_000))  # a bomb of its own
        case _:
            data = profile
    chunks = _chunks(_encoded("rgb", ".png"))
    return _png([chunks[0], (b"iCCP", data), *chunks[1:]]), ".png", "a PNG with an odd profile"


def _another_format(rng: Rng) -> tuple[bytes, str, str]:
    """What OpenCV could read, and no suffix here stands for; or nothing at all."""
    others = {
        "text": b"not a picture\n" * 20,
        "nothing": b"",
        "PPM": b"P6\n60000 60000\n255\n" + bytes(100),
        "a small PPM": b"P6\n2 2\n255\n" + bytes(12),
        "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(50),
        "Sun raster": struct.pack(">8I", 0x59A66A95, 60000, 60000, 24, 0, 1, 0, 0) + bytes(50),
        "TIFF": b"II*\0" + struct.pack("<IH", 8, 3) + bytes(40),
        "GIF": b"GIF89a" + struct.pack("<HH", 60000, 60000) + b"\xf0\0\0" + bytes(20),
        "OpenEXR": struct.pack("<I", 20000630) + rng.bytes(60),
        "AVIF": struct.pack(">I", 24) + b"ftypavif" + bytes(12) + rng.bytes(60),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + rng.bytes(60),
        "noise": rng.bytes(500),
    }
    name = str(rng.choice(list(others)))
    return others[name], str(rng.choice(_SUFFIXES)), name


def _many_scans(rng: Rng) -> tuple[bytes, str, str]:
    """A progressive JPEG that is gone over again and again."""
    scans = int(rng.choice([20, 500, 3000]))
    content = flat_jpeg(2000, 2000, components=1, progressive_scans=scans)
    return content, ".jpg", f"a JPEG of {scans} scans"


def _pillow_picture(rng: Rng) -> tuple[bytes, str, str]:
    """Formats that OpenCV is not asked for, with metadata, sound or damaged."""
    suffix = str(rng.choice([".gif", ".tif", ".avif", ".webp", ".png", ".jpg"]))
    mode = str(rng.choice(["L", "RGB", "RGBA", "P", "1"] if suffix != ".jpg" else ["L", "CMYK"]))
    frames = int(rng.choice([1, 3])) if suffix != ".jpg" else 1
    content = _pillow_encoded(suffix, mode, frames)
    if rng.random() < 0.3:
        return content, suffix, f"{frames} {mode} {suffix}"
    content, how = damaged(rng, content)
    return content, suffix, f"{frames} {mode} {suffix} {how}"


@cache
def _pillow_encoded(suffix: str, mode: str, frames: int) -> bytes:
    from PIL import Image, ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x8825] = 6, {1: "N", 2: (1.0, 2.0, 3.0)}
    images = [Image.fromarray(smooth_picture(shift=9.0 * n)).convert(mode) for n in range(frames)]
    if suffix == ".avif":  # Pillow 13.0 crashes on an animation with an orientation
        exif[0x0112] = 1
    options = {} if suffix in (".gif", ".tif") else {"exif": exif, "icc_profile": profile}
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:]}
        options |= {} if suffix == ".tif" else {"duration": 40}
    file = io.BytesIO()
    images[0].save(file, {".tif": "TIFF", ".jpg": "JPEG"}.get(suffix, suffix[1:]), **options)
    return file.getvalue()


_KINDS: tuple[Callable[[Rng], tuple[bytes, str, str]], ...] = (
    *(_damaged_picture,) * 5,
    *(_png_with_right_checksums,) * 2,
    *(_vast,) * 3,
    _vast_and_whole,
    *(_pillow_picture,) * 4,
    _odd_mode,
    _odd_exif,
    _odd_profile,
    _another_format,
    _many_scans,
)


# Pictures to begin with.

_MODES = (
    *(("rgb", suffix) for suffix in (".jpg", ".png", ".webp", ".bmp")),
    ("grey", ".jpg"),
    ("grey", ".png"),
    ("grey", ".bmp"),
    ("alpha", ".png"),
    ("alpha", ".webp"),
    ("alpha", ".bmp"),
    ("deep", ".png"),
    ("palette", ".png"),
    ("progressive", ".jpg"),
    ("lossless", ".webp"),
    ("cmyk", ".jpg"),
    ("animated", ".webp"),
    ("tiny", ".png"),
    ("line", ".jpg"),
)


@cache
def _encoded(mode: str, suffix: str) -> bytes:
    rgb = smooth_picture()
    options: list[int] = []
    match mode:
        case "cmyk":
            return flat_jpeg(48, 64, components=4)
        case "animated":
            return _animated_webp()
        case "palette":
            return _palette_png(48, 64)
        case "grey":
            rgb = rgb[..., 0]
        case "alpha":
            rgb = np.dstack([rgb, rgb[..., 0]])
        case "deep":
            rgb = rgb.astype(np.uint16) * 257
        case "progressive":
            options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
        case "lossless":
            options = [cv2.IMWRITE_WEBP_QUALITY, 101]
        case "tiny":
            rgb = rgb[:1, :1]
        case "line":
            rgb = np.repeat(rgb[:1], 20, axis=1)
    return cv2.imencode(suffix, rgb, options)[1].tobytes()


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(_PNG_MAGIC)
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        chunks.append((kind, png[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return _PNG_MAGIC + b"".join(parts)


def _palette_png(height: int, width: int, *, bits: int = 8, rows: bytes | None = None) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)
    palette = bytes(range(3 * 2**bits)) if bits < 7 else bytes(range(256)) * 3
    data = zlib.compress(rows if rows is not None else height * bytes(1 + width * bits // 8))
    return _png([(b"IHDR", header), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b"")])


def _jpeg_with(marker: int, segment: bytes) -> bytes:
    jpeg = _encoded("rgb", ".jpg")
    return (
        jpeg[:2]
        + b"\xff"
        + bytes([marker])
        + struct.pack(">H", len(segment) + 2)
        + segment
        + jpeg[2:]
    )


def flat_jpeg(
    height: int,
    width: int,
    *,
    components: int,
    progressive_scans: int = 0,
    blocks: int | None = None,
) -> bytes:
    """A grey JPEG of any size in two bits a block: a DC of category 0, and the block's end.

    Args:
        height, width: as declared.
        components: 1 grey, 3 colour, 4 as in print.
        progressive_scans: so many times the (empty) first coefficient is sent; 0 for baseline.
        blocks: that are there; None for all.
    """

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    if blocks is None:
        blocks = -(-height // 8) * -(-width // 8) * components
    table = bytes([1, *[0] * 15, 0])  # one code of one bit, for symbol 0
    ids = b"".join(bytes([n + 1, 0x11, 0]) for n in range(components))
    frame = struct.pack(">BHHB", 8, height, width, components) + ids
    scanned = bytes([components]) + b"".join(bytes([n + 1, 0]) for n in range(components))
    parts = [
        b"\xff\xd8",
        segment(0xDB, b"\0" + bytes([16] * 64)),
        segment(0xC2 if progressive_scans else 0xC0, frame),
        segment(0xC4, b"\0" + table),
        segment(0xC4, b"\x10" + table),
    ]
    if progressive_scans:
        first = segment(0xDA, scanned + bytes([0, 0, 0])) + bytes(-(-blocks // 8))
        again = segment(0xDA, b"\1\1\0" + bytes([1, 1, 0])) + bytes(-(-blocks // 8))
        parts += [first, *[again] * (progressive_scans - 1)]
    else:
        parts += [segment(0xDA, scanned + bytes([0, 63, 0])), bytes(-(-2 * blocks // 8))]
    return b"".join([*parts, b"\xff\xd9"])


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def flat_webp(height: int, width: int) -> bytes:
    """A lossless WebP of one colour: not a bit per pixel, so any size takes the same few bytes."""
    bits = ((width - 1) & 0x3FFF) | ((height - 1) & 0x3FFF) << 14
    # No transform, no colour cache, no meta codes, and five codes of one symbol each: 1, 0, 0, 0.
    for number in range(5):
        bits |= 1 << (32 + 3 + 4 * number)
    return _riff((b"VP8L", b"\x2f" + bits.to_bytes(10, "little")))


def _animated_webp() -> bytes:
    frame = flat_webp(48, 64)[12:]
    place = bytes(6) + (63).to_bytes(3, "little") + (47).to_bytes(3, "little") + bytes(4)
    size = (63).to_bytes(3, "little") + (47).to_bytes(3, "little")
    return _riff(
        (b"VP8X", b"\x02\0\0\0" + size), (b"ANIM", bytes(6)), *[(b"ANMF", place + frame)] * 2
    )


def _vast_png(height: int, width: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _png([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(5000))), (b"IEND", b"")])


def _vast_bmp(height: int, width: int, *, packed: bool = True) -> bytes:
    pixels = b"\0\1" if packed else bytes(3000)  # run lengths that end at once
    bits, compression = (8, 1) if packed else (24, 0)
    palette = bytes(1024) if packed else b""
    size = 54 + len(palette) + len(pixels)
    header = b"BM" + struct.pack("<IHHI", size, 0, 0, 54 + len(palette))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return header + info + palette + pixels


_VAST: tuple[tuple[Callable[[int, int], bytes], str], ...] = (
    (_vast_png, ".png"),
    (lambda h, w: flat_jpeg(h, w, components=3, blocks=400), ".jpg"),
    (flat_webp, ".webp"),
    (_vast_bmp, ".bmp"),
    (lambda h, w: _vast_bmp(-h, w), ".bmp"),
    (lambda h, w: _vast_bmp(h, w, packed=False), ".bmp"),
)


@cache
def _whole_png() -> tuple[bytes, str]:
    side = 30_000
    return _palette_png(side, side, bits=1, rows=bytes(side * (1 + side // 8))), ".png"


@cache
def _whole_jpeg() -> tuple[bytes, str]:
    return flat_jpeg(20_000, 20_000, components=1), ".jpg"


_WHOLE: tuple[Callable[[], tuple[bytes, str]], ...] = (
    _whole_png,
    _whole_jpeg,
    lambda: (flat_webp(16_383, 16_383), ".webp"),
    lambda: (_vast_bmp(30_000, 30_000), ".bmp"),
)


def _exif(rng: Rng) -> bytes:
    """Directories that lie: places outside, loops, counts without end, or noise."""
    order = str(rng.choice(["<", ">"]))
    mark = b"II" if order == "<" else b"MM"
    match rng.integers(4):
        case 0:
            return rng.bytes(int(rng.integers(0, 200)))
        case 1:
            orientation = int(rng.choice([0, 9, 255, 65535]))
            entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
            return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)
        case 2:
            place = int(rng.choice([0, 4, 2**31, 2**32 - 1]))
            return mark + struct.pack(order + "HI", 42, place) + rng.bytes(40)
        case _:
            head = mark + struct.pack(order + "HIH", 42, 8, 65535)
            return head + rng.bytes(int(rng.integers(0, 2000)))

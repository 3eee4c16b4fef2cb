"""Pixels of any mode that Pillow reads, as 8-bit RGB; those of 16 bits beside it."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.files.picture_facts import PNG_MAGIC

_PNG_DEPTH_AT = 24
_BITS_PER_SAMPLE = 258
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_GREY_16)
_FEWEST_COLOURS = 256
"""What a palette holds."""

_SILENT = 0
"""OpenCV's log level."""


@dataclass(frozen=True)
class Pixels:
    """Pixels as they are stored, not turned.

    Attributes:
        rgb: [H, W, 3] uint8.
        alpha: [H, W] uint8, or None without transparency.
        grey: the file holds one channel of colour.
        deep: [H, W, 3] uint16, with alpha [H, W, 4], where all 16 bits can be written again.
        palette: [N, 3] uint8, the colours of a picture that is stored with a palette.
        is_converted: the colours are sRGB now, so the file's profile does not hold any more.
        lost: what the 8-bit RGB does not hold, in words.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    deep: NDArray[np.uint16] | None = None
    palette: NDArray[np.uint8] | None = None
    is_converted: bool = False
    lost: tuple[str, ...] = ()


def pixels_of(path: Path, image: Any, content: bytes) -> Pixels:
    """Pixels of an image that Pillow has loaded.

    Raises:
        StreamError: samples of a type that is not read.
    """
    mode, lost = image.mode, _lost_depth(image, content)
    if mode in _GREY_16:
        grey = np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
        return Pixels(np.dstack([grey] * 3), grey=True, lost=("16 bits a channel, now 8",))
    if mode in ("I", "F") or (mode == "LAB" and "icc_profile" not in image.info):
        raise StreamError(
            f"{path} has samples of the mode {mode}; expected grey, RGB or CMYK of 8 or 16 bits: "
            "convert it first"
        )
    if mode in ("CMYK", "LAB"):
        return _print_pixels(image, lost)
    if mode == "1":
        lost.append("1 bit a pixel, now 8")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        rgb, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    else:
        rgb, alpha = np.array(image.convert("RGB")), None
    has_palette = mode == "P" or image.format == "GIF"
    return Pixels(
        rgb,
        alpha,
        grey=mode in _GREY_MODES,
        palette=_palette_of(rgb) if has_palette else None,
        lost=tuple(lost),
    )


def deep_pixels(image: Any, content: bytes) -> Pixels | None:
    """Pixels of a PNG with 16 bits a channel; None for any other, and where they cannot be kept."""
    if not content.startswith(PNG_MAGIC) or content[_PNG_DEPTH_AT] != 16:
        return None
    if "transparency" in image.info:
        return None
    before = cv2.setLogLevel(_SILENT)
    try:
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.setLogLevel(before)
    if stored is None or stored.dtype != np.uint16 or stored.shape[:2] != image.size[::-1]:
        return None
    grey = stored.ndim == 2 or ("A" in image.mode and image.mode != "RGBA")
    if stored.ndim == 2:
        stored = np.dstack([stored] * 3)
    deep = stored[..., [2, 1, 0, 3][: stored.shape[2]]]
    eight = _eight_bits(deep)
    alpha = np.ascontiguousarray(eight[..., 3]) if eight.shape[2] == 4 else None
    return Pixels(np.ascontiguousarray(eight[..., :3]), alpha, grey=grey, deep=deep)


def _eight_bits(samples: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _lost_depth(image: Any, content: bytes) -> list[str]:
    """What Pillow reduces to 8 bits while it reads."""
    bits = 8
    if image.format == "TIFF":
        samples = image.tag_v2.get(_BITS_PER_SAMPLE, 8)
        bits = max(samples) if isinstance(samples, tuple) else int(samples)
    elif image.format == "PNG":
        bits = content[_PNG_DEPTH_AT]
    elif image.format == "AVIF":
        bits = avif_bits(content)
    elif image.format == "HEIF":
        bits = int(image.info.get("bit_depth") or 8)
    return [f"{bits} bits a channel, now 8"] if bits > 8 else []


def avif_bits(content: bytes) -> int:
    """Bits a channel by the configuration of the first AV1 picture; 8 where there is none."""
    flags = av1_flags(content)
    return 12 if flags & 0x20 else 10 if flags & 0x40 else 8


def av1_flags(content: bytes) -> int:
    """Byte 2 of the first AV1 configuration box (AV1-ISOBMFF 2.3.3); 0 where there is none."""
    at = content.find(b"av1C")
    return content[at + 6] if 0 <= at < len(content) - 6 else 0


def _print_pixels(image: Any, lost: list[str]) -> Pixels:
    """CMYK and LAB: by the file's profile, or by inverting where there is none that holds."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile and profile[16:20].decode("latin-1").strip() in (image.mode, "Lab"):
        try:
            made = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            lost.append(f"{image.mode} colours, now sRGB by their profile")
            return Pixels(np.array(made), is_converted=True, lost=tuple(lost))
        except (ImageCms.PyCMSError, OSError, ValueError):
            lost.append(f"the {image.mode} profile, which is damaged")
    lost.append(f"{image.mode} colours, now RGB without a profile")
    return Pixels(np.array(image.convert("RGB")), is_converted=True, lost=tuple(lost))


def _palette_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    packed = np.unique(packed_colours(rgb))
    if len(packed) > _FEWEST_COLOURS:
        return None
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def packed_colours(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """[..., 3] uint8 to [...] uint32, one number a colour."""
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


READABLE = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
"""Pillow's names of the formats that are opened: its other decoders do not see a file."""

OLDEST_PILLOW = (11, 3)
_INSTALL = f"pip install 'pillow>={OLDEST_PILLOW[0]}.{OLDEST_PILLOW[1]}'"

DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
    *(IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError),
)
"""Pillow's plugins raise these for damaged files."""

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))

_OPENING = threading.Lock()
"""Pillow's limit of pixels and Python's warning filters are global."""


def import_pillow() -> Any:
    """Imports `PIL.Image`.

    Raises:
        MissingPackageError: Pillow is not installed, or too old.
    """
    try:
        import PIL
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "Pillow, which reads and writes pictures,", "edge", command=_INSTALL
        ) from error
    if tuple(int(part) for part in PIL.__version__.split(".")[:2]) < OLDEST_PILLOW:
        needed = ".".join(map(str, OLDEST_PILLOW))
        raise MissingPackageError(
            f"Pillow {needed} or newer (found {PIL.__version__})", "edge", command=_INSTALL
        )
    return Image


def open_image(path: Path, content: bytes) -> Any:
    """Opens a picture without decoding its pixels.

    Args:
        path: the file as the user knows it.
        content: its bytes.

    Returns:
        A `PIL.Image.Image`; use it within `decoder_errors`.

    Raises:
        MissingPackageError: Pillow, or what it needs for this format, is not installed.
        StreamError: the file is damaged or of another format.
    """
    image = import_pillow()
    formats = [name for name in READABLE if name in _registered(path, content)]
    # The caller has limits of its own, which look at the file's length too.
    with decoder_errors(path), _unlimited(image):
        try:
            return image.open(io.BytesIO(content), formats=formats)
        except image.UnidentifiedImageError as error:
            raise StreamError(
                f"{path} cannot be decoded; expected a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or "
                "HEIC file: it is damaged, or of another format than its name says"
            ) from error


@contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Turns what Pillow raises for a damaged file into a `StreamError`, and hides its warnings."""
    with without_warnings():
        try:
            yield
        except (*DECODER_ERRORS, import_pillow().DecompressionBombError) as error:
            raise StreamError(
                f"{path} is damaged or cut short ({error}); copy it again from its source"
            ) from error


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hides Python's warnings, such as Pillow's about EXIF that is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _registered(path: Path, content: bytes) -> set[str]:
    """Formats that Pillow can open; packages and builds that lack this file's are errors."""
    from PIL import Image, features

    brands = _brands(content)
    if brands & _AVIF_BRANDS and not features.check("avif"):
        raise MissingPackageError(
            f"{path} is AVIF; a Pillow that reads AVIF", "edge", command=_INSTALL
        )
    if brands & _HEIF_BRANDS and not brands & _AVIF_BRANDS:
        try:
            from pillow_heif import register_heif_opener
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"{path} is HEIC; pillow-heif, which reads it,",
                "edge",
                command="pip install pillow-heif, or convert the picture to JPEG or PNG first",
            ) from error
        register_heif_opener()
    Image.init()
    return set(Image.OPEN)


def _brands(content: bytes) -> frozenset[bytes]:
    """Brands of an ISO base media file: HEIC and AVIF share some, so that all are looked at."""
    if content[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(content[:4], "big"), len(content))
    return frozenset((content[8:12], *(content[at : at + 4] for at in range(16, end, 4))))


@contextmanager
def _unlimited(image: Any) -> Iterator[None]:
    with _OPENING:
        before, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            image.MAX_IMAGE_PIXELS = before


def is_grey(rgb: NDArray[np.uint8]) -> bool:
    return bool((rgb == rgb[..., :1]).all())

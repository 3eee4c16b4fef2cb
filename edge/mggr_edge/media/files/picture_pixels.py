"""Decode picture files to 8-bit RGB.

For some PNG files, this module also returns the stored 16-bit samples.

Pillow decodes all pictures except PNG files with 16 bits per channel. OpenCV decodes these PNG
files, because Pillow reduces their samples to 8 bits.
"""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import silent_opencv, without_warnings
from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.files.picture_facts import PNG_MAGIC

_PNG_DEPTH_AT = 24
_BITS_PER_SAMPLE = 258
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_GREY_16)
_FEWEST_COLOURS = 256
"""Maximum number of colours in a palette."""
"""OpenCV log level that disables all log output."""


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels in stored orientation: the EXIF rotation is not applied.

    Attributes:
        rgb: colours, [H, W, 3] uint8.
        alpha: opacity, [H, W] uint8. `None` means that the picture has no transparency.
        grey: whether the file has a single colour channel (greyscale).
        deep: 16-bit samples, [H, W, 3] uint16, or [H, W, 4] with alpha. `None` means that the
            picture has 8 bits per channel, or that its 16-bit samples cannot be written again.
        palette: colours of the palette, [N, 3] uint8. `None` means that the picture is stored
            without a palette.
        is_converted: whether the colours were converted to sRGB. If so, the colour profile of the
            file is no longer valid.
        lost: descriptions of the information in the file that `rgb` does not contain.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    deep: NDArray[np.uint16] | None = None
    palette: NDArray[np.uint8] | None = None
    is_converted: bool = False
    lost: tuple[str, ...] = ()


def pixels_of(path: Path, image: Any, content: bytes) -> Pixels:
    """Return the pixels of an image that Pillow has loaded.

    Args:
        path: path of the picture file, used in error messages.
        image: a loaded `PIL.Image.Image`.
        content: the bytes of the file.

    Raises:
        StreamError: the sample type is not supported.
    """
    mode, lost = image.mode, _lost_depth(image, content)
    if mode in _GREY_16:
        grey = np.rint(np.asarray(image).astype(np.float64) / 257).astype(np.uint8)
        return Pixels(np.dstack([grey] * 3), grey=True, lost=(reduced_depth(16),))
    if mode in ("I", "F") or (mode == "LAB" and "icc_profile" not in image.info):
        raise StreamError(
            f"{path} has the unsupported sample mode {mode}; expected grey, RGB or CMYK with 8 or "
            "16 bits; convert the picture first",
            code="sample-mode-unsupported",
            path=path,
            mode=mode,
        )
    if mode in ("CMYK", "LAB"):
        return _print_pixels(image, lost)
    if mode == "1":
        lost.append("1 bit per pixel (now 8)")
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
    """Return the 16-bit pixels of a PNG, or `None` for any other picture.

    Args:
        image: a `PIL.Image.Image` of the same file.
        content: the bytes of the file.

    Returns:
        The pixels. The function also returns `None` for a PNG with a transparent colour (`tRNS`),
        and for a PNG that OpenCV cannot decode to 16 bits.
    """
    if not content.startswith(PNG_MAGIC) or content[_PNG_DEPTH_AT] != 16:
        return None
    if "transparency" in image.info:
        return None
    try:
        with silent_opencv():
            stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
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
    """If Pillow reduced the samples to 8 bits, return a list with one note.

    Otherwise the list is empty.
    """
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
    return [reduced_depth(bits)] if bits > 8 else []


def reduced_depth(bits: int) -> str:
    """Return a note that channels with `bits` bits were reduced to 8 bits."""
    return f"{bits} bits per channel (now 8)"


def avif_bits(content: bytes) -> int:
    """Return the bits per channel of an AVIF file.

    The first AV1 configuration box states this number. If the file has no such box, the result is
    8.
    """
    flags = av1_flags(content)
    return 12 if flags & 0x20 else 10 if flags & 0x40 else 8


def av1_flags(content: bytes) -> int:
    """Return the flags of the first AV1 configuration box.

    The flags are byte 2 of the box (AV1-ISOBMFF 2.3.3). If the file has no such box, the result is
    0.
    """
    at = content.find(b"av1C")
    return content[at + 6] if 0 <= at < len(content) - 6 else 0


def _print_pixels(image: Any, lost: list[str]) -> Pixels:
    """Convert a CMYK or LAB image to RGB.

    The conversion uses the colour profile of the file. The profile may be missing or damaged, or
    it may belong to another colour model. In these cases, Pillow converts the image without a
    profile. For CMYK, Pillow then inverts the values.

    Args:
        image: a loaded `PIL.Image.Image`.
        lost: list of notes about lost information. The function appends a note about the
            conversion.
    """
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
            lost.append(f"{image.mode} colours (converted to sRGB with their colour profile)")
            return Pixels(np.array(made), is_converted=True, lost=tuple(lost))
        except (ImageCms.PyCMSError, OSError, ValueError):
            lost.append(f"{image.mode} colour profile (damaged)")
    lost.append(f"{image.mode} colours (converted to RGB without a colour profile)")
    return Pixels(np.array(image.convert("RGB")), is_converted=True, lost=tuple(lost))


def _palette_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    packed = np.unique(packed_colours(rgb))
    if len(packed) > _FEWEST_COLOURS:
        return None
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def packed_colours(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Convert [..., 3] uint8 colours to [...] uint32: one number 0xRRGGBB per colour."""
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


READABLE = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
"""Pillow's names of the supported formats. All other Pillow decoders stay disabled."""

OLDEST_PILLOW = (11, 3)
_INSTALL = f"pip install 'pillow>={OLDEST_PILLOW[0]}.{OLDEST_PILLOW[1]}'"

DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
    *(IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError),
)
"""Exceptions that Pillow can raise while it reads a damaged file."""

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))

_OPENING = threading.Lock()
"""Lock that a thread holds while Pillow's pixel limit is disabled.

The lock is needed because the limit is a global variable."""


def import_pillow() -> Any:
    """Import `PIL.Image`.

    Raises:
        MissingPackageError: Pillow is not installed, or its version is too old.
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
    """Open a picture without decoding its pixels.

    Args:
        path: path of the file, used in error messages.
        content: the bytes of the file.

    Returns:
        A `PIL.Image.Image`. Use the image only inside a `decoder_errors` context.

    Raises:
        MissingPackageError: Pillow is not installed, or a package that Pillow needs for this
            format is not installed.
        StreamError: the file is damaged, or its format is not supported.
    """
    image = import_pillow()
    formats = [name for name in READABLE if name in _registered(path, content)]
    # Pillow's pixel limit is disabled. The caller checks its own limit, which also depends on the
    # length of the file.
    with decoder_errors(path), _unlimited(image):
        try:
            return image.open(io.BytesIO(content), formats=formats)
        except image.UnidentifiedImageError as error:
            raise StreamError(
                f"{path} cannot be decoded: the file is damaged, or it has another format; "
                "expected a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC file",
                code="picture-format-unknown",
                path=path,
            ) from error


@contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Convert Pillow's exceptions for a damaged file to `StreamError`, and hide warnings."""
    with without_warnings():
        try:
            yield
        except (*DECODER_ERRORS, import_pillow().DecompressionBombError) as error:
            raise StreamError(
                f"{path} is damaged or truncated ({error}); copy the file again from its source",
                code="picture-damaged",
                path=path,
                reason=str(error),
            ) from error


def _registered(path: Path, content: bytes) -> set[str]:
    """Return the names of the formats that Pillow can open.

    For a HEIC file, the function first registers the HEIF opener of pillow-heif.

    Raises:
        MissingPackageError: the file is AVIF or HEIC, and the installed packages cannot read it.
    """
    from PIL import Image, features

    brands = _brands(content)
    if brands & _AVIF_BRANDS and not features.check("avif"):
        raise MissingPackageError(
            f"{path} is an AVIF file; a version of Pillow that reads AVIF", "edge", command=_INSTALL
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
    """Return all brands of an ISO base media file.

    A brand is a code of four bytes for a file format. A file has one major brand and may have
    other brands. HEIC and AVIF share some brands, so the major brand alone does not identify the
    format. If the file is not an ISO base media file, the result is empty.
    """
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

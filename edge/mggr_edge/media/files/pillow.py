"""Pillow, imported where it is needed and nowhere else, and its errors in one line."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mggr_edge.errors import MissingPackageError, StreamError

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

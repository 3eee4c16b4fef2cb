"""Read and write still and animated pictures: upright RGB pixels with metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.exif import UPRIGHT, exif_orientation, upright
from mggr_edge.media.files.picture import EncoderOptions, Picture, encoder_options_of
from mggr_edge.media.files.picture_encoding import encode
from mggr_edge.media.files.picture_facts import PictureFacts, picture_facts
from mggr_edge.media.files.picture_metadata import Metadata, exif_of, metadata_of, tiff_exif
from mggr_edge.media.files.picture_pixels import (
    Pixels,
    decoder_errors,
    deep_pixels,
    open_image,
    pixels_of,
)
from mggr_edge.media.files.written import write_whole

_END_OF_JPEG = b"\xff\xd9"
_FILLING = 128
"""Grey level that a JPEG decoder writes to missing rows."""

_MOST_PIXELS = 1 << 28
"""Maximum total number of pixels in all frames of a file.

The largest sensors of phones have 200 million pixels."""

_EMPTY_PIXELS = 1 << 25
"""Number of pixels that every file may have, even a very small file.

This is the size of an 8K video frame, and needs 100 MB of memory."""

_PIXELS_PER_BYTE = 100
"""Maximum number of pixels per byte of the file, for pictures with more than `_EMPTY_PIXELS`.

A photograph of low quality has 25 pixels per byte. A decompression bomb has thousands of pixels per
byte. Such a bomb is a small file that fills the memory when it is decoded."""

_MOST_SCANS = 100
"""Maximum number of scans in a JPEG.

A progressive JPEG stores the picture in several scans, and each scan adds details. Usual encoders
write about ten scans. Each scan needs as much decoding time as a whole picture."""


def read_picture(path: Path) -> Picture:
    """Read a still picture; see `read_pictures`.

    Raises:
        MissingPackageError: see `read_pictures`.
        StreamError: the file has several frames or pages. `read_pictures` lists the other causes.
    """
    pictures = read_pictures(path)
    if len(pictures) > 1:
        raise StreamError(
            f"{path} contains {len(pictures)} pictures, expected one; process the file with "
            "`mggr-edge run`, or save one of the pictures as a separate file",
            code="several-pictures",
            path=path,
            found=len(pictures),
        )
    return pictures[0]


def read_whole_picture(path: Path) -> Picture:
    """Read a still picture, and raise an error if any part of the file is missing.

    Use this function in callers that do not report `Picture.damage`.

    Raises:
        MissingPackageError: see `read_pictures`.
        StreamError: a part of the file is missing. `read_picture` lists the other causes.
    """
    picture = read_picture(path)
    if picture.damage:
        raise StreamError(
            f"{path} is damaged or truncated: {picture.damage}; copy the file again from its "
            "source",
            code="picture-incomplete",
            path=path,
            damage=picture.damage,
        )
    return picture


def read_pictures(path: Path) -> tuple[Picture, ...]:
    """Read a picture, all frames of an animation, or all pages of a TIFF, in upright orientation.

    The supported formats are JPEG, PNG, WebP, BMP, GIF, TIFF and AVIF. With the package
    pillow-heif, the primary picture of a HEIC file can also be read.

    If enough data are present, a truncated JPEG is accepted, as in picture viewers. A sequential
    JPEG needs at least half of its rows. A progressive JPEG needs complete scans of all
    coefficients. `Picture.damage` describes the missing part of a truncated JPEG.

    Raises:
        MissingPackageError: Pillow is not installed, or a package that Pillow needs for this
            format is not installed.
        StreamError: the file is missing or damaged, has a format or sample type that is not
            supported, or has too many pixels.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StreamError(
            f"{path} cannot be read: {error.strerror}",
            code="picture-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    if not content:
        raise StreamError(f"{path} is empty; expected a picture", code="picture-empty", path=path)
    facts = picture_facts(content)
    if facts.scans > _MOST_SCANS:
        raise StreamError(
            f"{path} is a JPEG with {facts.scans} scans, expected at most {_MOST_SCANS}; encode "
            "the picture again",
            code="too-many-scans",
            path=path,
            found=facts.scans,
            most=_MOST_SCANS,
        )
    is_cut_jpeg = not facts.complete and facts.scans > 0
    if not facts.complete and not is_cut_jpeg:
        raise StreamError(
            f"{path} is damaged or truncated; copy the file again from its source",
            code="picture-truncated",
            path=path,
        )
    if is_cut_jpeg:
        content = content.rstrip(b"\0") + _END_OF_JPEG
    image = open_image(path, content)
    _check_size(path, image.size, 1, len(content))
    with decoder_errors(path):
        count = _frame_count(image)
        _check_size(path, image.size, count, len(content))
        pictures = tuple(_read_frames(path, image, content, facts, count))
    if is_cut_jpeg:
        damage = _damage_of(path, pictures[0].rgb, facts, _orientation_of(image))
        return (replace(pictures[0], damage=damage),)
    return pictures


def _check_size(path: Path, size: tuple[int, int], frames: int, length: int) -> None:
    """If the picture is too large, raise an error before any pixel is decoded.

    Args:
        path: path of the picture file, used in error messages.
        size: (width, height) in pixels.
        frames: number of frames.
        length: length of the file in bytes.

    Raises:
        StreamError: the size is zero or exceeds the limit.
    """
    width, height = size
    pixels = height * width * frames
    allowed = min(_MOST_PIXELS, max(_EMPTY_PIXELS, _PIXELS_PER_BYTE * length))
    if pixels == 0:
        raise StreamError(
            f"{path} is damaged: the size in its header is {width} x {height} pixels",
            code="picture-size-zero",
            path=path,
            width=width,
            height=height,
        )
    if pixels > allowed:
        shown = f"{frames} frames of " if frames > 1 else ""
        raise StreamError(
            f"{path} has {shown}{width} x {height} pixels in {length} bytes; the limit for a file "
            f"of this length is {allowed // 1_000_000} megapixels; reduce the picture size first",
            code="picture-too-large",
            path=path,
            width=width,
            height=height,
            frames=frames,
            most_pixels=allowed,
        )


def _frame_count(image: Any) -> int:
    # Only the first picture of an MPO or HEIC file is read. The other pictures are previews, depth
    # maps and gain maps.
    return 1 if image.format in ("MPO", "HEIF") else int(getattr(image, "n_frames", 1))


def _read_frames(
    path: Path, image: Any, content: bytes, facts: PictureFacts, count: int
) -> Iterator[Picture]:
    metadata, options = Metadata(), EncoderOptions()
    for number in range(count):
        if image.format not in ("MPO", "HEIF"):
            image.seek(number)
        exif = tiff_exif(image) if number == 0 and image.format == "TIFF" else b""
        image.load()
        if number == 0:
            metadata = metadata_of(image, content, exif_block=exif or exif_of(image), end=facts.end)
            options = encoder_options_of(image, content, facts)
        deep = deep_pixels(image, content) if count == 1 else None
        pixels = pixels_of(path, image, content) if deep is None else deep
        duration_ms = None
        if count > 1 and image.format != "TIFF":
            duration_ms = float(image.info.get("duration") or 0.0)
        yield Picture(
            **_upright(pixels, _orientation_of(image)),
            grey=pixels.grey,
            palette=pixels.palette,
            duration_ms=duration_ms,
            metadata=replace(
                metadata,
                profile=b"" if pixels.is_converted else metadata.profile,
                lost=(*metadata.lost, *pixels.lost),
            ),
            options=options,
        )


def _upright(pixels: Pixels, orientation: int) -> dict[str, Any]:
    channels = {"rgb": pixels.rgb, "alpha": pixels.alpha, "deep": pixels.deep}
    return {k: None if v is None else upright(v, orientation) for k, v in channels.items()}


def _orientation_of(image: Any) -> int:
    """Return the EXIF orientation.

    For TIFF and HEIF, the result is 1, because Pillow already rotates these pictures.
    """
    if image.format in ("TIFF", "HEIF"):
        return UPRIGHT
    return exif_orientation(exif_of(image))


def _damage_of(path: Path, rgb: NDArray[np.uint8], facts: PictureFacts, orientation: int) -> str:
    """Return a description of the missing part of a truncated JPEG.

    Args:
        path: path of the picture file, used in error messages.
        rgb: upright pixels, [H, W, 3] uint8.
        facts: structure of the file.
        orientation: EXIF orientation, 1 to 8.

    Raises:
        StreamError: more than half of the rows are missing. For a progressive JPEG: the details
            of the whole picture are missing.
    """
    if facts.is_progressive:
        if facts.is_sharp:
            return "the last scan, which contains fine brightness details, is missing"
        raise StreamError(
            f"{path} is damaged or truncated: scan {facts.scans} of this progressive JPEG is "
            "incomplete, so the details of the picture are missing; copy the file again from its "
            "source",
            code="picture-details-missing",
            path=path,
            scan=facts.scans,
        )
    stored = _stored(rgb, orientation)
    is_there = (stored != _FILLING).any(axis=(1, 2))
    height = len(is_there)
    missing = int(is_there[::-1].argmax()) if is_there.any() else height
    if 2 * missing > height:
        raise StreamError(
            f"{path} is damaged or truncated: {missing} of {height} rows are missing, expected at "
            "most half of the rows; copy the file again from its source",
            code="picture-rows-missing",
            path=path,
            missing=missing,
            rows=height,
        )
    if missing:
        return f"the end of the file is missing, and {missing} of {height} rows are grey"
    return "the end marker of the file is missing"


def _stored(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Convert upright pixels back to the orientation that is stored in the file."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return upright(rgb, inverse)


def write_picture(path: Path, picture: Picture) -> tuple[str, ...]:
    """Write a picture; see `write_pictures`."""
    return write_pictures(path, (picture,))


def write_pictures(path: Path, pictures: Sequence[Picture]) -> tuple[str, ...]:
    """Write a picture, the frames of an animation, or the pages of a TIFF.

    The suffix of `path` selects the format. Lossy formats are written at quality 95 or above. If
    the output has the format of the input, the chroma subsampling and metadata of the input are
    kept. In this case, a lossless input is written without loss.

    Returns:
        Descriptions of the information that is missing in the output. If nothing is lost, the tuple
        is empty.

    Raises:
        UsageError: the pictures need a feature that the format does not support: transparency or
            several frames.
        StreamError: the picture cannot be encoded, or the file cannot be written.
    """
    encoded = encode(path, pictures)
    write_whole(path, encoded.content)
    return encoded.lost

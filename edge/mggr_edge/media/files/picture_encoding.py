"""Encode pictures to the bytes of a file. The suffix of the file selects the format."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import without_warnings
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.files.paths import ANIMATED_SUFFIXES, PAGED_SUFFIXES, TRANSPARENT_SUFFIXES
from mggr_edge.media.files.picture import (
    OPAQUE,
    Picture,
    all_channels_of,
    channels_of,
    palette_indices,
)
from mggr_edge.media.files.picture_metadata import Metadata, jpeg_segments, with_png_chunks
from mggr_edge.media.files.picture_pixels import DECODER_ERRORS, import_pillow

_QUALITY = 95
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "AVIF": 65_536}
_LOSSLESS_TIFF = frozenset(("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"))
_XMP_TAG, _ORIENTATION_TAG = 700, 0x0112
_SUB_DIRECTORIES = (0x8769, 0x8825)
"""Tags of the sub-directories of EXIF: the EXIF directory and the GPS directory."""

_JFIF_DENSITY = slice(13, 18)
_AFTER_JFIF = 20
_GIF_COLOURS = 256


@dataclass(frozen=True)
class Encoded:
    """An encoded picture file.

    Attributes:
        content: the bytes of the file.
        lost: descriptions of the information that was lost when the pictures were encoded.
    """

    content: bytes
    lost: tuple[str, ...] = ()


def encode(path: Path, pictures: Sequence[Picture]) -> Encoded:
    """Encode a picture, the frames of an animation, or the pages of a TIFF.

    Args:
        path: path of the output file. The suffix selects the format.
        pictures: pictures of the same size.

    Raises:
        UsageError: the pictures need a feature that the format does not support: transparency or
            several frames.
        StreamError: the pictures cannot be encoded in this format.
    """
    suffix = path.suffix.lower()
    file_format = _FORMATS[suffix]
    pictures = [_without_needless_alpha(one, suffix) for one in pictures]
    first = pictures[0]
    suffixes = PAGED_SUFFIXES if first.duration_ms is None else ANIMATED_SUFFIXES
    if len(pictures) > 1 and suffix not in suffixes:
        noun = "pages" if first.duration_ms is None else "frames"
        raise UsageError(
            f"{suffix} does not support {len(pictures)} {noun}; use {' or '.join(suffixes)}",
            code="format-without-frames" if noun == "frames" else "format-without-pages",
            suffix=suffix,
            found=len(pictures),
        )
    height, width = first.rgb.shape[:2]
    if max(height, width) > _LONGEST_SIDE.get(file_format, max(height, width)):
        raise StreamError(
            f"{path} cannot be encoded: its size is {width} x {height} pixels, and {suffix} "
            f"supports at most {_LONGEST_SIDE[file_format]} pixels per side; use .png",
            code="picture-side-too-long",
            path=path,
            width=width,
            height=height,
            most=_LONGEST_SIDE[file_format],
        )
    try:
        with without_warnings():
            return _ENCODERS[file_format](pictures)
    except (OSError, ValueError, RuntimeError) as error:
        raise StreamError(
            f"{path} cannot be encoded as {suffix}: {error}",
            code="picture-encoding-failed",
            path=path,
            reason=str(error),
        ) from error


def _without_needless_alpha(picture: Picture, suffix: str) -> Picture:
    if picture.alpha is None or suffix in TRANSPARENT_SUFFIXES:
        return picture
    if (picture.alpha != OPAQUE).any():
        raise UsageError(
            f"{suffix} does not support transparency, but the picture has transparent pixels; "
            f"use {' or '.join(TRANSPARENT_SUFFIXES)}",
            code="format-without-transparency",
            suffix=suffix,
            expected=" ".join(TRANSPARENT_SUFFIXES),
        )
    return replace(picture, alpha=None)


def _jpeg(pictures: Sequence[Picture]) -> Encoded:
    picture = pictures[0]
    channels, lost = channels_of(picture, with_grey_alpha=False)
    metadata, options = picture.metadata, picture.options
    segments, too_long = jpeg_segments(metadata)
    made = _saved(
        [channels],
        "JPEG",
        progressive=options.is_progressive,
        subsampling=options.subsampling if metadata.format == "JPEG" else 0,
        icc_profile=_fitting_profile(metadata, channels),
        **({"dpi": _whole(metadata.dpi)} if metadata.dpi else {}),
        **_jpeg_tables(options.tables),
    )
    if metadata.density:
        made = made[: _JFIF_DENSITY.start] + metadata.density + made[_JFIF_DENSITY.stop :]
    made = made[:_AFTER_JFIF] + segments + made[_AFTER_JFIF:]
    return Encoded(made, (*lost, *too_long, *_lost(picture, "JPEG", channels)))


def _jpeg_tables(tables: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
    """Return the encoder options for quality 95 or better.

    The quantization is never coarser than in the input.

    Args:
        tables: quantization tables of the input.
    """
    if not tables or len(tables) > 2:
        return {"quality": _QUALITY}
    image = import_pillow()
    probe = _saved([np.zeros((8, 8, 3), np.uint8)], "JPEG", quality=_QUALITY)
    with image.open(io.BytesIO(probe)) as opened:
        usual = [opened.quantization[key] for key in sorted(opened.quantization)]
    pairs = zip((*tables, tables[-1])[:2], usual, strict=True)
    return {"qtables": [np.minimum(one, other).tolist() for one, other in pairs]}


def _png(pictures: Sequence[Picture]) -> Encoded:
    first = pictures[0]
    frames, lost = all_channels_of(pictures, with_grey_alpha=True)
    if first.deep is not None and len(pictures) == 1:
        made, lost = _deep_png(first.deep, grey=frames[0].ndim == 2), ()
    else:
        made = _saved(frames, "PNG", **_timing(pictures))
    is_rgb = first.deep is not None and first.alpha is not None  # see `_deep_png`
    channels = first.rgb if is_rgb else frames[0]
    profile = _fitting_profile(first.metadata, channels)
    made = with_png_chunks(made, first.metadata, profile=profile)
    return Encoded(made, (*lost, *_lost(first, "PNG", channels)))


def _deep_png(deep: NDArray[np.uint16], *, grey: bool) -> bytes:
    # OpenCV cannot write grey pictures with alpha.
    stored = deep[..., 0] if grey else deep[..., [2, 1, 0, 3][: deep.shape[2]]]
    ok, encoded = cv2.imencode(".png", np.ascontiguousarray(stored))
    if not ok:
        raise ValueError("OpenCV cannot encode a PNG with 16 bits per channel")
    return encoded.tobytes()


def _webp(pictures: Sequence[Picture]) -> Encoded:
    first = pictures[0]
    frames, lost = all_channels_of(pictures, with_grey_alpha=False, with_grey=False)
    lossless = first.metadata.format == "WEBP" and first.options.is_lossless
    made = _saved(
        frames,
        "WEBP",
        quality=100 if lossless else _QUALITY,
        lossless=lossless,
        exact=True,
        **_common(first.metadata, frames[0]),
        **_timing(pictures),
    )
    return Encoded(made, (*lost, *_lost(first, "WEBP", frames[0])))


def _avif(pictures: Sequence[Picture]) -> Encoded:
    first = pictures[0]
    frames, lost = all_channels_of(pictures, with_grey_alpha=False, with_grey=False)
    exif, damaged = _parsed_exif(first.metadata)
    # Pillow 13.0 crashes if the EXIF block of an animation contains an orientation. This tag is not
    # needed, because upright is the default.
    exif.pop(_ORIENTATION_TAG, None)
    block = exif.tobytes().removeprefix(b"Exif\0\0") if exif else b""
    metadata = replace(first.metadata, exif=block)
    made = _saved(
        frames,
        "AVIF",
        quality=_QUALITY,
        subsampling=first.options.subsampling if first.metadata.format == "AVIF" else "4:4:4",
        **_common(metadata, frames[0]),
        **_timing(pictures),
    )
    endless = ("number of times to show the animation",) if first.options.plays else ()
    return Encoded(made, (*lost, *damaged, *endless, *_lost(first, "AVIF", frames[0])))


def _bmp(pictures: Sequence[Picture]) -> Encoded:
    channels, lost = channels_of(pictures[0], with_grey_alpha=False)
    dpi = pictures[0].metadata.dpi
    made = _saved([channels], "BMP", **({"dpi": dpi} if dpi else {}))
    return Encoded(made, (*lost, *_lost(pictures[0], "BMP", channels)))


def _tiff(pictures: Sequence[Picture]) -> Encoded:
    first = pictures[0]
    frames, lost = all_channels_of(pictures, with_grey_alpha=True)
    metadata, compression = first.metadata, first.options.compression
    if compression not in _LOSSLESS_TIFF:
        compression = "tiff_adobe_deflate"
    exif, damaged = _parsed_exif(metadata)
    if any(directory in exif for directory in _SUB_DIRECTORIES):
        # Compressed files are written by libtiff. libtiff cannot write sub-directories.
        compression = "raw"
    if metadata.xmp:
        exif[_XMP_TAG] = metadata.xmp
    profile = _fitting_profile(metadata, frames[0])
    made = _saved(
        frames,
        "TIFF",
        compression=compression,
        exif=exif,
        **({"icc_profile": profile} if profile else {}),
        **({"dpi": metadata.dpi} if metadata.dpi else {}),
    )
    return Encoded(made, (*lost, *damaged, *_lost(first, "TIFF", frames[0])))


def _parsed_exif(metadata: Metadata) -> tuple[Any, tuple[str, ...]]:
    """Return the EXIF block as a `PIL.Image.Exif` object, and the names of lost metadata.

    If the EXIF block is missing or damaged, the object is empty.
    """
    exif = import_pillow().Exif()
    if not metadata.exif:
        return exif, ()
    try:
        exif.load(b"Exif\0\0" + metadata.exif)
        for directory in _SUB_DIRECTORIES:
            exif.get_ifd(directory)
        exif.tobytes()
    except DECODER_ERRORS:
        return import_pillow().Exif(), ("EXIF (damaged)",)
    return exif, ()


def _gif(pictures: Sequence[Picture]) -> Encoded:
    image, lost = import_pillow(), []
    frames = []
    has_alpha = any(one.alpha is not None for one in pictures)
    for picture in pictures:
        indices, palette, is_exact = palette_indices(picture, _GIF_COLOURS - has_alpha)
        if picture.alpha is not None:
            if not np.isin(picture.alpha, (0, OPAQUE)).all():
                lost.append("partial transparency")
            indices = np.where(picture.alpha < 128, _GIF_COLOURS - 1, indices)
            palette = np.resize(palette, (_GIF_COLOURS, 3))
        if not is_exact:
            lost.append(f"colours beyond the {_GIF_COLOURS} of a GIF frame")
        frame = image.fromarray(indices.astype(np.uint8), "P")
        frame.putpalette(palette.tobytes())
        frames.append(frame)
    comment = pictures[0].metadata.comment
    options = {
        **_gif_timing(pictures),
        **({"transparency": _GIF_COLOURS - 1, "disposal": 2} if has_alpha else {}),
        **({"comment": comment} if comment else {}),
    }
    made = _saved_images(frames, "GIF", optimize=False, **options)
    return Encoded(made, (*dict.fromkeys(lost), *pictures[0].metadata.lost_in("GIF")))


def _fitting_profile(metadata: Metadata, channels: NDArray) -> bytes:
    """Return the colour profile if it has the same colour model as `channels`.

    Otherwise, return an empty byte string.
    """
    grey = channels.ndim == 2 or channels.shape[2] < 3
    return metadata.profile if metadata.profile_space == ("GRAY" if grey else "RGB") else b""


def _lost(picture: Picture, file_format: str, channels: NDArray) -> tuple[str, ...]:
    lost = picture.metadata.lost_in(file_format)
    if picture.metadata.profile and not _fitting_profile(picture.metadata, channels):
        space = picture.metadata.profile_space or "unknown"
        lost = tuple(one for one in lost if one != "colour profile")
        lost += (f"colour profile (its colour model, {space}, differs from the output)",)
    return lost


def _common(metadata: Metadata, channels: NDArray) -> dict[str, Any]:
    found = {
        "icc_profile": _fitting_profile(metadata, channels),
        "exif": metadata.exif,
        "xmp": metadata.xmp,
    }
    return {key: value for key, value in found.items() if value}


def _timing(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return Pillow's options for frame durations and the number of plays.

    If the number of plays is 0, the animation is played without end. For a single picture, the
    result is empty. The encoder for TIFF does not use this function, because the pages of a TIFF
    have neither durations nor plays.
    """
    if len(pictures) == 1:
        return {}
    options = pictures[0].options
    durations = [one.duration_ms or 0.0 for one in pictures]
    found: dict[str, Any] = {"duration": [round(one) for one in durations]}
    if options.has_default_image:
        found = {"duration": found["duration"][1:], "default_image": True}
    return found | {"loop": min(options.plays or 0, 0xFFFF)}  # WebP supports at most 0xFFFF plays


def _gif_timing(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the options of `_timing` for a GIF.

    A GIF stores the number of repetitions, which is the number of plays minus one. If the
    animation is played once, the file contains no number.
    """
    found, plays = _timing(pictures), pictures[0].options.plays or 0
    found.pop("loop", None)
    return found if plays == 1 else {**found, "loop": max(0, plays - 1)}


def _whole(dpi: tuple[float, float]) -> tuple[int, int]:
    return round(dpi[0]), round(dpi[1])


def _saved(frames: Sequence[NDArray[np.uint8]], file_format: str, **options: Any) -> bytes:
    image = import_pillow()
    return _saved_images(
        [image.fromarray(np.ascontiguousarray(one)) for one in frames], file_format, **options
    )


def _saved_images(images: Sequence[Any], file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if len(images) > 1:
        options |= {"save_all": True, "append_images": list(images[1:])}
    images[0].save(file, file_format, **options)
    return file.getvalue()


_ENCODERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "BMP": _bmp,
    "GIF": _gif,
    "AVIF": _avif,
    "TIFF": _tiff,
}

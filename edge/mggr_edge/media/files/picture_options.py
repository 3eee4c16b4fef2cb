"""How the pixels of a picture file are encoded, so that they can be encoded alike again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mggr_edge.media.files.picture_facts import PictureFacts
from mggr_edge.media.files.picture_pixels import av1_flags

_FULL_CHROMA = 0
"""Pillow's number of 4:4:4."""


@dataclass(frozen=True)
class EncoderOptions:
    """How a file's pixels are encoded; defaults are those of a file of another format.

    Attributes:
        subsampling: Pillow's option of the chroma subsampling; 4:4:4 where it has no name for it.
        is_progressive: (JPEG).
        tables: (JPEG) quantization tables, 64 numbers each.
        is_lossless: (WebP).
        compression: (TIFF) Pillow's name; None without one.
        plays: (animations) how often they are shown, 0 for ever; None for other pictures.
        has_default_image: (PNG) the first picture is no frame of the animation.
    """

    subsampling: int | str = _FULL_CHROMA
    is_progressive: bool = False
    tables: tuple[tuple[int, ...], ...] = ()
    is_lossless: bool = False
    compression: str | None = None
    plays: int | None = None
    has_default_image: bool = False


def encoder_options_of(image: Any, content: bytes, facts: PictureFacts) -> EncoderOptions:
    """Reads how an image that Pillow has loaded is encoded.

    Args:
        image: a `PIL.Image.Image`, loaded.
        content: bytes of its file.
        facts: of the same bytes.
    """
    subsampling: int | str = _FULL_CHROMA
    tables: tuple[tuple[int, ...], ...] = ()
    if image.format in ("JPEG", "MPO"):
        from PIL.JpegImagePlugin import get_sampling

        subsampling = max(_FULL_CHROMA, get_sampling(image))
        tables = tuple(tuple(image.quantization[key]) for key in sorted(image.quantization))
    if image.format == "AVIF":
        has_half_width, has_half_height = av1_flags(content) & 0x08, av1_flags(content) & 0x04
        subsampling = "4:2:0" if has_half_height else "4:2:2" if has_half_width else "4:4:4"
    return EncoderOptions(
        subsampling=subsampling,
        is_progressive=facts.is_progressive,
        tables=tables,
        is_lossless=facts.lossless,
        compression=image.info.get("compression") if image.format == "TIFF" else None,
        plays=_plays(image),
        has_default_image=bool(image.info.get("default_image")),
    )


def _plays(image: Any) -> int | None:
    """How often an animation is shown. A GIF counts how often it is shown again, if at all."""
    if not getattr(image, "is_animated", False):
        return None
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)  # an AVIF animation never ends

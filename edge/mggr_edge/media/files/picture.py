"""A still picture or a frame of an animation, and how its file was encoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.picture_facts import PictureFacts
from mggr_edge.media.files.picture_metadata import Metadata
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


@dataclass(frozen=True)
class Picture:
    """A picture as it is seen, or a frame of an animation.

    Attributes:
        rgb: [H, W, 3] uint8, upright.
        alpha: [H, W] uint8, or None where the file has no transparency.
        grey: the file holds one channel of colour.
        deep: the stored samples, upright, where they have 16 bits: [H, W, 3] uint16, with alpha
            [H, W, 4].
        palette: [N, 3] uint8, the colours of a picture with at most 256 of them in its file.
        duration_ms: how long a frame of an animation is shown; None for pictures and pages.
        metadata: what the file holds beside the pixels.
        options: how the file's pixels were encoded.
        damage: what is missing of the file, in words; empty for a whole one.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    deep: NDArray[np.uint16] | None = None
    palette: NDArray[np.uint8] | None = None
    duration_ms: float | None = None
    metadata: Metadata = field(default_factory=Metadata)
    options: EncoderOptions = field(default_factory=EncoderOptions)
    damage: str = ""

    def edited(self, rgb: NDArray[np.uint8]) -> Picture:
        """The picture with other pixels, perhaps several times as wide as its own.

        16-bit samples move by as much as their 8-bit ones do, so that those which were not
        changed stay exact.

        Args:
            rgb: [H, n W, 3] uint8.
        """
        columns = rgb.shape[1] // self.rgb.shape[1]
        alpha = None if self.alpha is None else np.tile(self.alpha, (1, columns))
        if self.deep is None:
            return replace(self, rgb=rgb, alpha=alpha)
        before = np.tile(self.rgb, (1, columns, 1))
        deep = np.tile(self.deep, (1, columns, 1))
        moved = deep[..., :3] + 257 * (rgb.astype(np.int32) - before)
        deep[..., :3] = np.clip(moved, 0, 0xFFFF)
        return replace(self, rgb=rgb, alpha=alpha, deep=deep)

"""Data classes for a still picture or an animation frame, and for the encoder options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.picture_facts import PictureFacts
from mggr_edge.media.files.picture_metadata import Metadata
from mggr_edge.media.files.picture_pixels import av1_flags

_FULL_CHROMA = 0
"""Pillow's code for 4:4:4 chroma subsampling."""


@dataclass(frozen=True)
class EncoderOptions:
    """Options with which the pixels in a file are encoded.

    An option that does not apply to the format of the file has its default value.

    Attributes:
        subsampling: JPEG and AVIF only: Pillow's option for the chroma subsampling. The value is
            4:4:4 if Pillow does not support the subsampling of the file.
        is_progressive: JPEG only: whether the encoding is progressive.
        tables: JPEG only: quantization tables. Each table has 64 numbers.
        is_lossless: WebP only: whether the encoding is lossless.
        compression: TIFF only: Pillow's name of the compression. `None` means that the file does
            not state the compression.
        plays: number of times that an animation is played. 0 means that the animation is played
            without end. `None` means that the file is not an animation.
        has_default_image: PNG only: whether the first picture is a default image. A default image
            is not part of the animation.
    """

    subsampling: int | str = _FULL_CHROMA
    is_progressive: bool = False
    tables: tuple[tuple[int, ...], ...] = ()
    is_lossless: bool = False
    compression: str | None = None
    plays: int | None = None
    has_default_image: bool = False


def encoder_options_of(image: Any, content: bytes, facts: PictureFacts) -> EncoderOptions:
    """Return the encoder options of an image that Pillow has loaded.

    Args:
        image: a loaded `PIL.Image.Image`.
        content: the bytes of the file.
        facts: structural properties of the same file.
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
    """Return how many times an animation is played.

    A GIF stores the number of repetitions, which is one less than the number of plays. A GIF
    without that number is played once.

    Returns:
        The number of plays. 0 means that the animation is played without end. `None` means that
        the file is a still picture.
    """
    if not getattr(image, "is_animated", False):
        return None
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)  # AVIF stores no number: AVIF animations are played without end


@dataclass(frozen=True)
class Picture:
    """A still picture, a page or an animation frame in upright orientation.

    Attributes:
        rgb: colours, [H, W, 3] uint8.
        alpha: opacity, [H, W] uint8. `None` means that the picture has no transparency.
        grey: whether the file has a single colour channel (greyscale).
        deep: stored 16-bit samples, [H, W, 3] uint16, or [H, W, 4] with alpha. `None` means that
            the picture has 8 bits per channel, or that its 16-bit samples cannot be written again.
        palette: colours of the palette, [N, 3] uint8 with N up to 256. `None` means that the
            picture is stored without a palette.
        duration_ms: display duration of an animation frame in milliseconds. `None` means that this
            is a still picture or a page.
        metadata: metadata of the file.
        options: encoder options of the file.
        damage: description of the missing part of the file. The text is empty for a complete file.
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
        """Return the picture with new pixels.

        The new pixels may contain several copies of the picture side by side. If the picture has
        16-bit samples, the change of the 8-bit values is added to these samples. Therefore, samples
        of unedited pixels stay exactly the same.

        Args:
            rgb: new pixels, [H, n * W, 3] uint8, where n is the number of copies.
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

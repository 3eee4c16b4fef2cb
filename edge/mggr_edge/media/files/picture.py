"""Still pictures and animation frames: their pixels and their encoder options.

`channels_of` and `palette_indices` return the pixels in the layouts that files store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.picture_facts import PictureFacts
from mggr_edge.media.files.picture_metadata import Metadata
from mggr_edge.media.files.picture_pixels import (
    av1_flags,
    import_pillow,
    is_grey,
    packed_colours,
    reduced_depth,
)

OPAQUE = 255
"""Largest value of an alpha channel: the pixel is not transparent."""

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
        16-bit samples, the change of the 8-bit values is added to these samples. Therefore, the
        16-bit samples of unedited pixels do not change.

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


def channels_of(
    picture: Picture, *, with_grey_alpha: bool
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the 8-bit channels of a picture, and descriptions of the lost information.

    The shape of the channels is one of these: [H, W] for grey, [H, W, 2] for grey with alpha,
    [H, W, 3] for RGB, [H, W, 4] for RGB with alpha.

    Args:
        picture: the picture to write.
        with_grey_alpha: whether the format supports grey pictures with alpha.
    """
    lost = () if picture.deep is None else (reduced_depth(16),)
    grey = picture.grey and is_grey(picture.rgb) and (with_grey_alpha or picture.alpha is None)
    colours = picture.rgb[..., :1] if grey else picture.rgb
    if picture.alpha is None:
        return (colours[..., 0] if grey else colours), lost
    return np.dstack([colours, picture.alpha]), lost


def all_channels_of(
    pictures: Sequence[Picture], *, with_grey_alpha: bool, with_grey: bool = True
) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
    """Return the channels of all frames, with the same number of channels in each frame.

    Args:
        pictures: frames of one animation, or pages of one file.
        with_grey_alpha: whether the format supports grey pictures with alpha.
        with_grey: whether the format supports grey pictures.

    Returns:
        (channels, lost). `channels` contains one array for each frame; see `channels_of`. `lost`
        contains descriptions of the lost information.
    """
    grey = with_grey and all(one.grey and is_grey(one.rgb) for one in pictures)
    has_alpha = any(one.alpha is not None for one in pictures)
    made = [
        channels_of(
            replace(one, grey=grey, alpha=_alpha_of(one) if has_alpha else None),
            with_grey_alpha=with_grey_alpha,
        )
        for one in pictures
    ]
    return [channels for channels, _ in made], made[0][1]


def _alpha_of(picture: Picture) -> NDArray[np.uint8]:
    if picture.alpha is not None:
        return picture.alpha
    return np.full(picture.rgb.shape[:2], OPAQUE, np.uint8)


def palette_indices(
    picture: Picture, most: int
) -> tuple[NDArray[np.intp], NDArray[np.uint8], bool]:
    """Convert a picture to palette indices.

    If the picture was read with a palette of at most `most` entries, this palette is used again.
    Therefore, the colours of unedited pixels stay exactly the same.

    Args:
        picture: the picture to convert.
        most: maximum number of palette entries.

    Returns:
        (indices, palette, is_exact). `indices`, [H, W], selects the nearest palette entry for each
        pixel. `palette` is [N, 3] uint8. `is_exact` is `True` if the palette contains all colours
        of the picture.
    """
    packed, inverse = np.unique(packed_colours(picture.rgb), return_inverse=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
    palette = picture.palette
    if palette is None or len(palette) > most:
        palette = colours if len(colours) <= most else _reduced(picture.rgb, most)
    nearest = np.empty(len(colours), np.intp)
    for start in range(0, len(colours), 4096):
        part = colours[start : start + 4096].astype(np.int32)
        away = ((part[:, None] - palette[None].astype(np.int32)) ** 2).sum(axis=-1)
        nearest[start : start + 4096] = away.argmin(axis=1)
    is_exact = bool((palette[nearest] == colours).all())
    return nearest[inverse].reshape(picture.rgb.shape[:2]), palette, is_exact


def _reduced(rgb: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    quantized = import_pillow().fromarray(rgb).quantize(most)
    return np.array(quantized.getpalette(), np.uint8).reshape(-1, 3)[:most]

"""A still picture, or a frame of an animation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.picture_metadata import Metadata
from mggr_edge.media.files.picture_options import EncoderOptions


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

"""Edit the stored values of 10-bit video frames.

Edits are added as differences. Therefore, the stored values of unedited pixels stay exactly the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.exif import upright
from mggr_edge.media.files.pyav import fitted, import_pyav

PIXEL_FORMAT = "yuv420p10le"

_BLACK, _LUMA_STEPS, _GREY, _CHROMA_STEPS = 64, 876, 512, 896
"""Limited range in 10 bits (H.273, equations 42 to 44).

The constants are, in this order: code of black luma, number of luma steps, code of neutral chroma,
number of chroma steps."""

_LARGEST_CODE = 1023

_RED_BLUE = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087)} | {
    9: (0.2627, 0.0593)
}
"""Weights of red and blue in luma (H.273, table 4), for each YUV matrix.

The keys are libswscale's codes of the matrices."""


@dataclass(frozen=True)
class TenBitPicture:
    """An upright 10-bit frame in Y'CbCr 4:2:0 with limited range.

    Attributes:
        luma: Y' plane, [H, W] uint16, 0 to 1023.
        chroma: Cb and Cr planes, each [ceil(H / 2), ceil(W / 2)] uint16, 0 to 1023.
        matrix: libswscale's code of the YUV matrix.
    """

    luma: NDArray[np.uint16]
    chroma: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    matrix: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.luma.shape[0], self.luma.shape[1]

    def copy(self) -> TenBitPicture:
        """Return a copy. Changes of the copy do not change this picture."""
        cb, cr = self.chroma
        return TenBitPicture(self.luma.copy(), (cb.copy(), cr.copy()), self.matrix)

    def codes(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return the full-range R'G'B' code values of a part of the picture.

        Args:
            rows, columns: ranges of rows and columns. Each range must start at an even number.

        Returns:
            R'G'B' values, [h, w, 3] float32. The limited range is scaled to values from 0 to 1.
        """
        luma = (self.luma[rows, columns].astype(np.float32) - _BLACK) / _LUMA_STEPS
        height, width = luma.shape
        halves = tuple(slice(part.start // 2, (part.stop + 1) // 2) for part in (rows, columns))
        cb, cr = (
            cv2.resize(
                (plane[halves].astype(np.float32) - _GREY) / _CHROMA_STEPS,
                (width + width % 2, height + height % 2),
                interpolation=cv2.INTER_LINEAR,
            )[:height, :width]
            for plane in self.chroma
        )
        red, blue = _RED_BLUE[self.matrix]
        r = luma + 2 * (1 - red) * cr
        b = luma + 2 * (1 - blue) * cb
        return np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], axis=-1)

    def add(self, change: NDArray[np.floating], *, top: int, left: int) -> None:
        """Add a difference of R'G'B' code values to the picture, in place.

        Args:
            change: difference in the unit of `codes`, [h, w, 3]. Where the difference is 0, the
                stored values stay the same.
            top, left: row and column of the picture to which the first pixel of `change` is added.
        """
        above, before = top % 2, left % 2
        below, behind = (above + change.shape[0]) % 2, (before + change.shape[1]) % 2
        change = np.pad(change.astype(np.float32), ((above, below), (before, behind), (0, 0)))
        top, left = top - above, left - before
        luma, cb, cr = _difference_in_yuv(change, self.matrix)
        _add(self.luma, _LUMA_STEPS * luma, top, left)
        half = (change.shape[1] // 2, change.shape[0] // 2)
        for plane, of_chroma in zip(self.chroma, (cb, cr), strict=True):
            mean = cv2.resize(of_chroma, half, interpolation=cv2.INTER_AREA)
            _add(plane, _CHROMA_STEPS * mean, top // 2, left // 2)

    def fitted(self, size: tuple[int, int]) -> TenBitPicture:
        """Resize the picture to fit into `size`, and centre the picture on a black background.

        The aspect ratio is kept; see `pyav.fitted`.

        Args:
            size: (height, width) of the result. A picture of that size is returned unchanged.
        """
        if self.size == size:
            return self
        height, width = self.size
        codes = fitted(self.codes(slice(0, height), slice(0, width)), size)
        picture = _black(size, self.matrix)
        picture.add(codes, top=0, left=0)
        return picture

    def frame(self) -> Any:
        """Return the picture as a PyAV frame.

        If the height is odd, the last row is duplicated. If the width is odd, the last column is
        duplicated.
        """
        height, width = self.size
        frame = import_pyav().VideoFrame(width + width % 2, height + height % 2, PIXEL_FORMAT)
        luma = np.pad(self.luma, ((0, height % 2), (0, width % 2)), mode="edge")
        for plane, values in zip(frame.planes, (luma, *self.chroma), strict=True):
            np.copyto(_values(plane), values)
        return frame


def ten_bit_picture(frame: Any, orientation: int, *, matrix: int) -> TenBitPicture:
    """Copy a 10-bit frame to a `TenBitPicture`.

    Args:
        frame: PyAV frame in the pixel format yuv420p10le, with limited range.
        orientation: EXIF orientation of the frame, 1 to 8.
        matrix: libswscale's code of the YUV matrix of the frame.
    """
    # The planes are copied, because the decoder reuses the memory of the frame.
    luma, cb, cr = (upright(_values(plane).copy(), orientation) for plane in frame.planes)
    return TenBitPicture(luma, (cb, cr), matrix)


def side_by_side(pictures: Sequence[TenBitPicture]) -> TenBitPicture:
    """Join pictures of the same size to one wide picture, from left to right."""
    if len(pictures) == 1:
        return pictures[0]
    luma = np.concatenate([picture.luma for picture in pictures], axis=1)
    cb, cr = (np.concatenate([picture.chroma[n] for picture in pictures], axis=1) for n in range(2))
    size = (luma.shape[1] + 1) // 2, cb.shape[0]
    # If the pictures have an odd width, the last chroma sample of a picture covers only one column.
    # The joined chroma planes are then too wide, so they are resized.
    if cb.shape[1] != size[0]:
        cb, cr = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (cb, cr))
    return TenBitPicture(luma, (cb, cr), pictures[0].matrix)


def _black(size: tuple[int, int], matrix: int) -> TenBitPicture:
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    grey = np.full(half, _GREY, np.uint16)
    return TenBitPicture(np.full(size, _BLACK, np.uint16), (grey, grey.copy()), matrix)


def _difference_in_yuv(
    rgb: NDArray[np.float32], matrix: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    red, blue = _RED_BLUE[matrix]
    r, g, b = (np.ascontiguousarray(rgb[..., n]) for n in range(3))
    luma = red * r + (1 - red - blue) * g + blue * b
    return luma, (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))


def _add(plane: NDArray[np.uint16], change: NDArray[np.float32], top: int, left: int) -> None:
    here = plane[top : top + change.shape[0], left : left + change.shape[1]]
    change = change[: here.shape[0], : here.shape[1]]  # drop padding outside the plane
    here[:] = np.clip(np.rint(here + change), 0, _LARGEST_CODE)


def _values(plane: Any) -> NDArray[np.uint16]:
    """Return the memory of a plane with 16-bit values as an array [h, w], without a copy."""
    rows = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width]

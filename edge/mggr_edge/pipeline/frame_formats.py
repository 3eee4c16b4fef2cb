"""Convert frames of a host program to RGB, and write redirected eyes into frames of its format.

| format | array | meaning |
|---|---|---|
| `rgb` | [H, W, 3] uint8 | red, green, blue |
| `bgr` | [H, W, 3] uint8 | blue, green, red, as in OpenCV |
| `gray` | [H, W] uint8 | brightness |
| `nv12` | [3 H / 2, W] uint8 | H rows of Y, then H / 2 rows with pairs of U and V |

NV12 frames use the BT.601 matrix and the limited range (Y from 16 to 235), and their H and W must
be even. Arrays may be strided views, for example a part of a larger frame.

Only the pixels of redirected eyes are converted back. All other pixels of the output are equal to
those of the input.
"""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.compositing import Region

Color = Literal["rgb", "bgr", "gray", "nv12"]
COLORS: tuple[Color, ...] = get_args(Color)

_SHAPES = {"rgb": "[H, W, 3]", "bgr": "[H, W, 3]", "gray": "[H, W]", "nv12": "[3 H / 2, W]"}


def check_frame(frame: NDArray[np.uint8], color: Color) -> None:
    """Check the type, the dtype and the shape of a frame.

    Raises:
        ValueError: the format is unknown, or the frame does not have this format.
    """
    if color not in COLORS:
        raise ValueError(f"color is {color!r}, expected {', '.join(COLORS)}")
    is_fitting = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.size > 0
    if is_fitting and color in ("rgb", "bgr"):
        is_fitting = frame.ndim == 3 and frame.shape[2] == 3
    elif is_fitting:
        is_fitting = frame.ndim == 2
        if color == "nv12":
            is_fitting = is_fitting and frame.shape[0] % 3 == 0 and frame.shape[1] % 2 == 0
    if not is_fitting:
        got = f"{getattr(frame, 'dtype', type(frame).__name__)} {list(np.shape(frame))}"
        raise ValueError(f"a frame is uint8 {_SHAPES[color]} {color.upper()}, got {got}")


def size_of(frame: NDArray[np.uint8], color: Color) -> tuple[int, int]:
    """Return (height, width) of the image in a frame, in pixels."""
    height, width = frame.shape[:2]
    return (height // 3 * 2 if color == "nv12" else height), width


def rgb_of(frame: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    """Return a contiguous [H, W, 3] RGB version of a frame.

    The result may share the memory of the frame, so it must not be changed.
    """
    if color == "rgb":
        return np.ascontiguousarray(frame)
    if color == "bgr":
        return np.ascontiguousarray(frame[..., ::-1])
    contiguous = np.ascontiguousarray(frame)
    code = cv2.COLOR_GRAY2RGB if color == "gray" else cv2.COLOR_YUV2RGB_NV12
    return np.asarray(cv2.cvtColor(contiguous, code), np.uint8)


def write_pixels(
    out: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
    mask: NDArray[np.float32],
    *,
    region: Region,
    color: Color,
) -> None:
    """Write changed pixels into a frame.

    Args:
        out: frame of the host program. It is changed where `mask` is above 0.
        rgb: [H, W, 3] RGB frame that contains the changed pixels.
        mask: [h, w] mask of the changed pixels in the region.
        region: rectangle of the frame that the mask covers.
        color: format of `out`.
    """
    rows, columns = region.slices
    is_changed = mask > 0
    if color == "nv12":
        _write_nv12(out, rgb, is_changed, region)
        return
    pixels = rgb[rows, columns]
    if color == "gray":
        pixels = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))
    elif color == "bgr":
        pixels = pixels[..., ::-1]
    out[rows, columns][is_changed] = pixels[is_changed]


def _write_nv12(
    out: NDArray[np.uint8], rgb: NDArray[np.uint8], is_changed: NDArray[np.bool_], region: Region
) -> None:
    """Write the changed pixels of a region, whose borders are first moved to even positions."""
    height, width = rgb.shape[:2]
    left, top = region.left // 2 * 2, region.top // 2 * 2
    right, bottom = min(width, -(-region.right // 2) * 2), min(height, -(-region.bottom // 2) * 2)
    if right <= left or bottom <= top:
        return
    is_even = np.zeros((bottom - top, right - left), np.bool_)
    row, column = region.top - top, region.left - left
    is_even[row : row + is_changed.shape[0], column : column + is_changed.shape[1]] = is_changed
    planes = cv2.cvtColor(np.ascontiguousarray(rgb[top:bottom, left:right]), cv2.COLOR_RGB2YUV_I420)
    h, w = is_even.shape
    out[top:bottom, left:right][is_even] = planes[:h][is_even]
    # One value of U and V belongs to 2 x 2 pixels.
    is_any = is_even.reshape(h // 2, 2, w // 2, 2).any(axis=(1, 3))
    chroma = planes[h:].reshape(2, h // 2, w // 2)
    below = slice(height + top // 2, height + bottom // 2)
    for offset, plane in enumerate(chroma):
        out[below, left + offset : right : 2][is_any] = plane[is_any]

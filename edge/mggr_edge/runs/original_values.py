"""Apply the changes of an SDR frame to the stored values of an HDR or 10-bit frame.

The networks process an 8-bit SDR version of the frame (the SDR view). This module then repeats the
redirection on the stored values of the video (the code values):

- The warp of an eye is repeated with the same sampling map and the same mask.
- The residual is the difference that the network adds to the warped eye, in SDR levels. The
  residual is converted to a difference of code values that changes the SDR view by the same amount.
- The colours of drawings are converted as BT.2408 specifies for graphics.
- All other pixels keep their stored values.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.files.ten_bit import TenBitPicture, side_by_side
from mggr_edge.media.files.tone_mapping import CodeMap
from mggr_edge.pipeline.compositing import ComposedEye, put_eye
from mggr_edge.pipeline.results import FrameResult

_LEVELS = 255.0

_REACH_PX = 4
"""Margin in pixels around the sampled positions. Bicubic sampling reads neighbouring pixels, and
the linear interpolation of chroma needs one more pixel."""


def shown_original(
    original: TenBitPicture,
    before: NDArray[np.uint8],
    result: FrameResult,
    code_map: CodeMap,
) -> TenBitPicture:
    """Return the stored values that correspond to a processed frame.

    Args:
        original: stored values of the frame, which are not modified.
        before: [H, W, 3] uint8, SDR view of the frame.
        result: result for the SDR view. The frame in the result may contain drawings, and may be
            several times as wide as the input.
        code_map: conversion between the stored code values and the SDR view.

    Returns:
        Stored values with the width of the frame in `result`.
    """
    eyes = [eye.composed for face in result.faces for eye in face.eyes if eye.composed is not None]
    redirected = before.copy()
    for eye in eyes:
        put_eye(redirected, eye)
    changed = _with_eyes(original, eyes, code_map)
    columns = np.split(result.frame, result.frame.shape[1] // before.shape[1], axis=1)
    return side_by_side(
        [
            original
            if np.array_equal(column, before)
            else _with_drawings(changed, redirected, column, code_map)
            for column in columns
        ]
    )


def _with_eyes(
    original: TenBitPicture, eyes: Sequence[ComposedEye], code_map: CodeMap
) -> TenBitPicture:
    out = original.copy()
    is_done = np.zeros(original.size, np.bool_)
    for eye in reversed(eyes):  # where faces overlap, the last face is visible, as in the SDR view
        if not eye.mask.size:
            continue
        change = _eye_change(original, eye, code_map)
        done_here = is_done[eye.region.slices]
        change[done_here] = 0.0
        done_here |= eye.mask > 0
        out.add(change, top=eye.region.top, left=eye.region.left)
    return out


def _eye_change(original: TenBitPicture, eye: ComposedEye, code_map: CodeMap) -> NDArray:
    """Return the changes of the R'G'B' code values in the region of an eye, [h, w, 3].

    The changes are 0 where the mask is 0.
    """
    rows, columns = _read_window(original.size, eye)
    codes = original.codes(rows, columns)
    origin = np.array([columns.start, rows.start], np.float32)
    moved = cv2.remap(
        codes, eye.sampling - origin, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    top, left = eye.region.top - rows.start, eye.region.left - columns.start
    here = codes[top : top + moved.shape[0], left : left + moved.shape[1]]
    mask = eye.mask[..., None]
    change = mask * (moved - here)
    seen = code_map.sdr_from_codes(here + change)
    wanted = np.clip(seen + mask * eye.residual / _LEVELS, 0.0, 1.0)
    return change + (code_map.codes_from_sdr(wanted) - code_map.codes_from_sdr(seen))


def _read_window(size: tuple[int, int], eye: ComposedEye) -> tuple[slice, slice]:
    """Return the rows and columns that contain an eye and its sampled positions.

    Both ranges start at even numbers.
    """
    region = eye.region
    ends = ((region.top, region.bottom), (region.left, region.right))
    parts = []
    for (first, last), places, length in zip(
        ends, (eye.sampling[..., 1], eye.sampling[..., 0]), size, strict=True
    ):
        start = int(min(first, np.floor(places.min()))) - _REACH_PX
        stop = int(max(last, np.ceil(places.max()))) + _REACH_PX
        parts.append(slice(max(0, start) // 2 * 2, min(length, stop)))
    return parts[0], parts[1]


def _with_drawings(
    picture: TenBitPicture,
    undrawn: NDArray[np.uint8],
    drawn: NDArray[np.uint8],
    code_map: CodeMap,
) -> TenBitPicture:
    if np.array_equal(drawn, undrawn):
        return picture
    differs = drawn != undrawn
    is_drawn = differs[..., 0] | differs[..., 1] | differs[..., 2]  # 20 times as fast as `any`
    left, top, width, height = cv2.boundingRect(is_drawn.view(np.uint8))
    left, width = left // 2 * 2, width + left % 2
    top, height = top // 2 * 2, height + top % 2
    rows, columns = slice(top, top + height), slice(left, left + width)
    here = is_drawn[rows, columns]
    change = np.zeros((height, width, 3), np.float32)
    painted = code_map.codes_from_graphics(drawn[rows, columns][here] / _LEVELS)
    change[here] = painted - picture.codes(rows, columns)[here]
    out = picture.copy()
    out.add(change, top=top, left=left)
    return out

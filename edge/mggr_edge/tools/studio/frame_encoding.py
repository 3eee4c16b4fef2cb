"""A frame as the page gets it: before and after in one picture, never apart in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.results import EyeResult, FaceResult

WIDEST_PX = 1280
"""Of each half; a page is hardly wider."""

_QUALITY = 88
_BLOCK_PX = 8
"""JPEG codes squares of that side."""

_ENCODING = (
    *(cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
    # Full colour: a block's colours end at its edge, and do not reach into the other half.
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


@dataclass(frozen=True)
class Pair:
    """A picture of both halves.

    Attributes:
        jpeg: before on the left, after on the right.
        size: (width, height) of each half in its pixels.
        after_x: where the right half begins, at or a little after the left one's end.
    """

    jpeg: bytes
    size: tuple[int, int]
    after_x: int


def encode_pair(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Pair:
    """Puts both halves into one JPEG, smaller where they are wider than `WIDEST_PX`.

    Halves that are equal are equal in the JPEG too: each begins at a block's edge.

    Args:
        before, after: [H, W, 3] uint8 RGB, of one size.
    """
    halves = [_bounded(half) for half in (before, after)]
    height, width = halves[0].shape[:2]
    gap = -width % _BLOCK_PX
    if gap:
        halves[0] = cv2.copyMakeBorder(halves[0], 0, 0, 0, gap, cv2.BORDER_REPLICATE)
    both = cv2.cvtColor(cv2.hconcat(halves), cv2.COLOR_RGB2BGR)
    done, jpeg = cv2.imencode(".jpg", both, _ENCODING)
    assert done
    return Pair(jpeg.tobytes(), (width, height), width + gap)


def _bounded(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if width <= WIDEST_PX:
        return rgb
    size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def face_facts(face: FaceResult, shape: tuple[int, ...]) -> dict[str, Any]:
    """Where a face is and what was done to its eyes, as the page wants it.

    Args:
        face: of a frame.
        shape: (height, width, ...) of that frame; places are given as shares of it.
    """
    height, width = shape[:2]
    points = face.landmarks[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    return {
        "id": face.identity,
        "x": round(float(x) / width, 4),
        "y": round(float(y) / height, 4),
        "width": round(float(high[0] - low[0]) / width, 4),
        "height": round(float(high[1] - low[1]) / height, 4),
        "gaze_deg": _gaze_deg(face),
        "eyes": [_eye(eye, width) for eye in face.eyes],
    }


def _gaze_deg(face: FaceResult) -> tuple[float, float] | None:
    """(pitch, yaw) as it was estimated; None where no eye could be seen well."""
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    return None if gaze is None else (round(gaze.pitch_deg, 1), round(gaze.yaw_deg, 1))


def _eye(eye: EyeResult, width: int) -> dict[str, Any]:
    return {
        "side": eye.side,
        "x": round(float(eye.outline[:, 0].mean()) / width, 4),
        "strength": round(eye.strength, 3),
        "reason": eye.reason,
    }

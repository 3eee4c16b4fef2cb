"""Encode the newest frame, before and after redirection, for the page of the studio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.results import EyeResult, FaceResult

WIDEST_PX = 1280
"""Maximum width in pixels of each of the two pictures. Pages are rarely wider."""

_QUALITY = 88
_BLOCK_PX = 8
"""Side length of the square blocks of a JPEG, in pixels."""

_ENCODING = (
    *(cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
    # Use no chroma subsampling, because it would mix the colours at the border of the two halves.
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


@dataclass(frozen=True)
class Pair:
    """JPEG of one frame with two halves: before redirection on the left, and after it on the right.

    Attributes:
        jpeg: JPEG data.
        size: (width, height) of each half in pixels.
        after_x: x position at which the right half begins, in pixels. There may be a small gap
            between the halves.
    """

    jpeg: bytes
    size: tuple[int, int]
    after_x: int


def encode_pair(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Pair:
    """Encode two pictures as one JPEG. Pictures that are wider than `WIDEST_PX` are scaled down.

    Each half begins at the edge of a JPEG block. Therefore two equal pictures are also equal in the
    JPEG.

    Args:
        before, after: [H, W, 3] uint8 RGB, of the same size.
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
    """Return the position of a face and the results of its eyes, in the format of the page.

    Args:
        face: face of a frame.
        shape: (height, width, ...) of the frame. The returned positions are fractions of this
            height and width.
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
    """Return the estimated (pitch, yaw) in degrees, or `None` if there is no estimate."""
    gaze = next((eye.gaze_before for eye in face.eyes if eye.gaze_before is not None), None)
    return None if gaze is None else (round(gaze.pitch_deg, 1), round(gaze.yaw_deg, 1))


def _eye(eye: EyeResult, width: int) -> dict[str, Any]:
    return {
        "side": eye.side,
        "x": round(float(eye.outline[:, 0].mean()) / width, 4),
        "strength": round(eye.strength, 3),
        "reason": eye.reason,
    }


_WATCHED_S = 3.0
"""Time in seconds after the last request during which the page counts as open."""

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Mailbox for one item. A new item replaces the previous item, even if no reader read it.

    Args:
        clock: function that returns the time in seconds. The time must never decrease.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._number = 0
        self._asked_s: float | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        """Replace the item."""
        with self._changed:
            self._item, self._number = item, self._number + 1
            self._changed.notify_all()

    def after(self, number: int, *, patience_s: float) -> tuple[int, Item] | None:
        """Return the newest item. If the caller has already read this item, wait for the next item.

        Args:
            number: number of the item that the caller read last; 0 if it has read none.
            patience_s: timeout in seconds.

        Returns:
            (number of the item, item), or `None` after a timeout.
        """
        with self._changed:
            self._asked_s = self._clock()
            self._changed.wait_for(
                lambda: self._is_closed or self._number not in (0, number), patience_s
            )
            self._asked_s = self._clock()
            if self._item is None or self._number == number:
                return None
            return self._number, self._item

    @property
    def is_watched(self) -> bool:
        """True if an item was requested in the last `_WATCHED_S` seconds."""
        asked_s = self._asked_s
        return asked_s is not None and self._clock() - asked_s < _WATCHED_S

    def close(self) -> None:
        """Wake all waiting readers."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

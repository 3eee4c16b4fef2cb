"""The newest frame before and after redirection, encoded for the page."""

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
"""Maximum width of each half in pixels; a page is hardly wider."""

_QUALITY = 88
_BLOCK_PX = 8
"""Side length in pixels of the square blocks of JPEG."""

_ENCODING = (
    *(cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
    # No chroma subsampling, so that the colours of a block do not extend into the other half.
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


@dataclass(frozen=True)
class Pair:
    """Image of both halves.

    Attributes:
        jpeg: JPEG data, with the frame before redirection on the left and after it on the right.
        size: (width, height) of each half in pixels.
        after_x: x position in pixels at which the right half begins, at the end of the left half or
            a little after it.
    """

    jpeg: bytes
    size: tuple[int, int]
    after_x: int


def encode_pair(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Pair:
    """Encode both halves as one JPEG, scaled down if they are wider than `WIDEST_PX`.

    Equal halves are equal in the JPEG too, because each half begins at the edge of a block.

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
        shape: (height, width, ...) of that frame; positions are fractions of it.
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
    """Return the estimated (pitch, yaw) in degrees; None if there is no estimate."""
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
"""Seconds after the last request during which the page counts as open."""

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Mailbox for one item; a new item replaces the previous one even if it was not read.

    Args:
        clock: returns a time in seconds that never decreases.
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
        """Return the newest item if its number differs from `number`, else wait for the next item.

        Args:
            number: number of the item that was read last; 0 for none.
            patience_s: timeout in seconds.

        Returns:
            The number of the item and the item; None after a timeout.
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
        """True if an item was requested recently."""
        asked_s = self._asked_s
        return asked_s is not None and self._clock() - asked_s < _WATCHED_S

    def close(self) -> None:
        """Wake all waiting readers."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

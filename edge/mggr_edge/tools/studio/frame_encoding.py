"""The newest frame, before and after redirection, encoded for the page."""

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


_WATCHED_S = 3.0
"""Somebody who asked so long ago looks no more."""

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Keeps one item; another takes its place, whether anybody saw it or not.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._number = 0
        self._asked_s: float | None = None
        self._is_closed = False

    def put(self, item: Item) -> None:
        """Takes the next one."""
        with self._changed:
            self._item, self._number = item, self._number + 1
            self._changed.notify_all()

    def after(self, number: int, *, patience_s: float) -> tuple[int, Item] | None:
        """The newest item, if it is another than that; else waits for the next.

        Args:
            number: of the item that was seen last; 0 for none.
            patience_s: how long is waited.

        Returns:
            its number and the item; None if none came.
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
        """Whether anybody asked lately."""
        asked_s = self._asked_s
        return asked_s is not None and self._clock() - asked_s < _WATCHED_S

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

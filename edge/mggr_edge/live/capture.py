"""What gives frames as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.live.address import LiveAddress


class Capture(Protocol):
    """An opened live source."""

    def read(self) -> NDArray[np.uint8] | None:
        """Waits for the next frame, [H, W, 3] uint8 RGB; None when the source has ended.

        Raises:
            StreamError: the source is lost, or silent for too long.
        """
        ...

    def close(self) -> None:
        """Lets go of the source."""
        ...


@contextmanager
def open_capture(address: LiveAddress) -> Iterator[Capture]:
    """Opens a live source.

    Raises:
        StreamError: it is not there, or gives nothing.
        MissingPackageError: what it is read with is not installed.
    """
    capture = _opened(address)
    try:
        yield capture
    finally:
        capture.close()


def _opened(address: LiveAddress) -> Capture:
    match address.scheme:
        case "rtsp":
            from mggr_edge.live.rtsp import RtspCapture

            return RtspCapture(address)
        case "v4l2":
            from mggr_edge.live.v4l2 import V4L2Capture

            return V4L2Capture(address)

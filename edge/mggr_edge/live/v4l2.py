"""Cameras that Linux shows as /dev/videoN, read by OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.live.address import LiveAddress
from mggr_edge.live.picture_format import PictureFormat

_API = cv2.CAP_V4L2


class V4L2Capture:
    """A camera. Not seen on hardware.

    Args:
        address: `place` is its device file.
        wanted: size and rate; a camera that has others takes what is nearest.

    Raises:
        StreamError: no such device, no right to it, or no picture from it.
    """

    def __init__(self, address: LiveAddress, wanted: PictureFormat) -> None:
        self._address = address
        if not Path(address.place).exists():
            raise StreamError(f"{address} does not exist; `mggr-edge doctor` lists cameras")
        self._device = cv2.VideoCapture(address.place, _API)
        if not self._device.isOpened():
            raise StreamError(f"{address} cannot be opened: it is busy, or not yours to read")
        # One picture in the driver's queue: the newest is wanted.
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, wanted.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, wanted.height),
            (cv2.CAP_PROP_FPS, wanted.rate),
        ):
            if value is not None:
                self._device.set(setting, value)
        self.stream_time_s: float | None = None
        """When the driver took the last frame, in seconds; None where it does not say."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; a camera never ends, so none is a loss."""
        is_there, bgr = self._device.read()
        if not is_there:
            raise StreamError(f"{self._address} is lost: it gives no more pictures")
        taken_ms = self._device.get(cv2.CAP_PROP_POS_MSEC)
        # 0 is the answer of drivers and backends that do not know.
        self.stream_time_s = taken_ms / 1000 if taken_ms > 0 else None
        rgb: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return rgb

    def close(self) -> None:
        """Lets go of the camera."""
        self._device.release()

"""V4L2 cameras: format, controls and capture.

A USB camera sends few raw frames of a large size: 1280 x 720 at 10 per second is usual over USB 2.
The same camera sends 30 as Motion JPEG, but only if it is asked for that format.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.csi import CameraFormat

_API = cv2.CAP_V4L2
_MJPG = "MJPG"
_USUAL_RATE = 30
"""Frames per second that are expected if no rate is asked for, as of CSI cameras."""


@dataclass(frozen=True)
class CameraMode:
    """What a camera sends.

    Attributes:
        width, height: in pixels.
        rate: frames per second; 0 if the driver does not tell.
        fourcc: format of the pixels, four characters.
    """

    width: int
    height: int
    rate: float
    fourcc: str

    def gives(self, wanted: CameraFormat) -> bool:
        """Whether it is what was asked for."""
        return (
            wanted.width in (None, self.width)
            and wanted.height in (None, self.height)
            and wanted.rate in (None, round(self.rate))
        )

    def __str__(self) -> str:
        rate = f"{self.rate:g}" if self.rate else "an unknown number of"
        return f"{self.width} x {self.height} at {rate} frames per second, {self.fourcc}"


class V4L2Capture:
    """A camera. Not seen on hardware: in tests another class stands in OpenCV's place.

    Raw frames are kept if they come in the wanted size at the wanted rate; otherwise the camera is
    asked for Motion JPEG.

    Attributes:
        mode: what the camera sends.

    Args:
        address: `place` is its device file.
        wanted: size and rate; a camera that has others takes what is nearest.

    Raises:
        StreamError: no such device, no right to it, or no picture from it.
    """

    def __init__(self, address: LiveAddress, wanted: CameraFormat) -> None:
        self._address, self._wanted = address, wanted
        if not Path(address.place).exists():
            raise StreamError(f"{address} does not exist; `mggr-edge doctor` lists cameras")
        self._device = cv2.VideoCapture(address.place, _API)
        if not self._device.isOpened():
            raise StreamError(f"{address} cannot be opened: it is busy, or not yours to read")
        # One picture in the driver's queue: the newest is wanted.
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.mode = _settled(self._device, wanted)
        self.stream_time_s: float | None = None
        """When the driver took the last frame, in seconds; None where it does not say."""

    def described(self) -> str:
        """The mode in a line, and what was asked for if it is another."""
        found = f"{self._address} sends {self.mode}"
        if self.mode.gives(self._wanted):
            return found
        return f"{found}; asked for {_asked(self._wanted)}, which it does not offer"

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


def _settled(device: cv2.VideoCapture, wanted: CameraFormat) -> CameraMode:
    """Sets the mode that is nearest to what is wanted; raw frames where they are as near."""
    raw = _set(device, wanted)
    if not wanted.is_asked_for or raw.fourcc == _MJPG or _distance(raw, wanted) == (0, 0):
        return raw
    device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*_MJPG))
    compressed = _set(device, wanted)
    if compressed.fourcc != _MJPG or _distance(compressed, wanted) < _distance(raw, wanted):
        return compressed  # OpenCV returns to a raw format by itself if the camera has no MJPG
    device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*raw.fourcc))
    return _set(device, wanted)


def _set(device: cv2.VideoCapture, wanted: CameraFormat) -> CameraMode:
    """Asks for size, then rate (a new size resets the rate), and reads what the camera took."""
    for setting, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, wanted.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, wanted.height),
        (cv2.CAP_PROP_FPS, wanted.rate),
    ):
        if value is not None:
            device.set(setting, value)
    return CameraMode(
        width=round(device.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=round(device.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        rate=max(0.0, device.get(cv2.CAP_PROP_FPS)),
        fourcc=_fourcc(int(device.get(cv2.CAP_PROP_FOURCC))),
    )


def _distance(mode: CameraMode, wanted: CameraFormat) -> tuple[int, int]:
    """How far a mode is from what is wanted: in pixels of its sides, then in frames per second."""
    width, height = wanted.width or mode.width, wanted.height or mode.height
    rate = round(mode.rate)
    missing = max(0, _USUAL_RATE - rate) if wanted.rate is None else abs(wanted.rate - rate)
    return abs(width - mode.width) + abs(height - mode.height), missing


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", errors="replace")


def _asked(wanted: CameraFormat) -> str:
    size = f"{wanted.width or 'any width'} x {wanted.height or 'any height'}"
    return size if wanted.rate is None else f"{size} at {wanted.rate}"


KEYS = "space: on or off, + and -: strength, o: overlay, q: quit"

_STEPS = 10
"""Of strength, from nothing to all."""


@dataclass
class Controls:
    """The state that keys change.

    Attributes:
        strength: in [0, 1], what is asked for while it is on.
        is_on: whether eyes are redirected at all.
        overlay: whether what is done is drawn on the picture.
        stop: set when somebody has seen enough.
    """

    strength: float = 1.0
    is_on: bool = True
    overlay: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def in_words(self) -> str:
        """What is asked for now."""
        return f"strength {self.strength:.1f}" if self.is_on else "off"

    def press(self, key: str) -> None:
        """Takes a key, one character; others than those of `KEYS` do nothing."""
        match key:
            case " ":
                self.is_on = not self.is_on
            case "+" | "=":
                self._step(+1)
            case "-" | "_":
                self._step(-1)
            case "o" | "O":
                self.overlay = not self.overlay
            case "q" | "Q" | "\x1b":
                self.stop.set()

    def _step(self, by: int) -> None:
        step = min(_STEPS, max(0, round(self.strength * _STEPS) + by))
        self.strength = step / _STEPS

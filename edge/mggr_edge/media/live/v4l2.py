"""Read V4L2 cameras, and control a live run with keys.

For large raw frames, a USB camera has a low frame rate. Over USB 2, for example, 10 frames per
second at 1280 x 720 are usual. With Motion JPEG, the same camera sends 30 frames per second. The
program must request Motion JPEG, because the camera does not use this format by default.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import CameraFormat, LiveAddress

_API = cv2.CAP_V4L2
_MJPG = "MJPG"
_USUAL_RATE = 30
"""Expected frames per second if no rate is requested. CSI cameras have the same default."""


@dataclass(frozen=True)
class CameraMode:
    """Actual frame format of a camera.

    Attributes:
        width, height: frame size in pixels.
        rate: frame rate in frames per second. 0 means that the driver does not report the rate.
        fourcc: code of the pixel format, four characters.
    """

    width: int
    height: int
    rate: float
    fourcc: str

    def gives(self, wanted: CameraFormat) -> bool:
        """Return whether this mode has the requested size and rate."""
        return (
            wanted.width in (None, self.width)
            and wanted.height in (None, self.height)
            and wanted.rate in (None, round(self.rate))
        )

    def __str__(self) -> str:
        rate = f"{self.rate:g} frames per second" if self.rate else "an unknown frame rate"
        return f"{self.width} x {self.height} at {rate}, {self.fourcc}"


class V4L2Capture:
    """Capture for a V4L2 camera.

    This class was not tested on hardware. Tests replace OpenCV's capture class.

    The camera may not support the requested size or rate for raw frames. In this case, the class
    requests Motion JPEG from the camera.

    Attributes:
        mode: actual frame format of the camera.

    Args:
        address: address of the camera. Its `place` is the device file of the camera.
        wanted: requested size and rate. The camera selects the nearest mode that it supports.

    Raises:
        StreamError: the device does not exist or cannot be opened.
    """

    def __init__(self, address: LiveAddress, wanted: CameraFormat) -> None:
        self._address, self._wanted = address, wanted
        if not Path(address.place).exists():
            raise StreamError(
                f"{address} does not exist; `mggr-edge doctor` lists the cameras of this machine",
                code="camera-not-found",
                address=str(address),
            )
        self._device = cv2.VideoCapture(address.place, _API)
        if not self._device.isOpened():
            raise StreamError(
                f"{address} cannot be opened: it is in use, this user has no permission, or it is "
                "not a camera; run `mggr-edge doctor`",
                code="camera-open-failed",
                address=str(address),
            )
        # Only the newest frame is used. Therefore, the queue of the driver is limited to one frame.
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.mode = _settled(self._device, wanted)
        self.stream_time_s: float | None = None
        """Capture time of the last frame, in seconds of the driver's clock.

        `None` means that the time is unknown."""

    def described(self) -> str:
        """Return the mode of the camera as one line of text.

        If the mode differs from the request, the text also contains the requested size and rate.
        """
        found = f"{self._address} sends {self.mode}"
        if self.mode.gives(self._wanted):
            return found
        return f"{found}; the requested {_asked(self._wanted)} is not supported"

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame; see `Capture`.

        Raises:
            StreamError: no frame was read. The stream of a camera never ends, so a missing frame
                means that the camera is lost.
        """
        is_there, bgr = self._device.read()
        if not is_there:
            raise StreamError(
                f"connection to {self._address} lost: the camera delivers no more frames",
                code="camera-connection-lost",
                address=str(self._address),
            )
        taken_ms = self._device.get(cv2.CAP_PROP_POS_MSEC)
        # If a driver or OpenCV backend does not provide a timestamp, the value is 0.
        self.stream_time_s = taken_ms / 1000 if taken_ms > 0 else None
        rgb: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return rgb

    def close(self) -> None:
        """Release the camera."""
        self._device.release()


def _settled(device: cv2.VideoCapture, wanted: CameraFormat) -> CameraMode:
    """Set the camera to the mode that is nearest to the request, and return this mode.

    Motion JPEG is used only if its mode is nearer to the request than the mode for raw frames.
    """
    raw = _set(device, wanted)
    if not wanted.is_asked_for or raw.fourcc == _MJPG or _distance(raw, wanted) == (0, 0):
        return raw
    device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*_MJPG))
    compressed = _set(device, wanted)
    if compressed.fourcc != _MJPG or _distance(compressed, wanted) < _distance(raw, wanted):
        # If the camera does not support MJPG, OpenCV has already returned to a raw format.
        return compressed
    device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*raw.fourcc))
    return _set(device, wanted)


def _set(device: cv2.VideoCapture, wanted: CameraFormat) -> CameraMode:
    """Request a size and a rate, and return the mode that the camera selected.

    The rate is requested after the size, because a new size resets the rate.
    """
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
    """Return the distance from a mode to the request.

    Returns:
        (pixels, rate). `pixels` is the difference of the widths plus the difference of the heights.
        `rate` is the difference of the rates in frames per second. If no rate is requested, only a
        rate below `_USUAL_RATE` counts as a difference.
    """
    width, height = wanted.width or mode.width, wanted.height or mode.height
    rate = round(mode.rate)
    missing = max(0, _USUAL_RATE - rate) if wanted.rate is None else abs(wanted.rate - rate)
    return abs(width - mode.width) + abs(height - mode.height), missing


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", errors="replace")


def _asked(wanted: CameraFormat) -> str:
    size = f"{wanted.width or 'any width'} x {wanted.height or 'any height'}"
    return size if wanted.rate is None else f"{size} at {wanted.rate} frames per second"


KEYS = (
    "keys: space switches redirection on or off, + and - change the strength, o switches the "
    "overlay, q quits"
)

_STEPS = 10
"""Number of steps between strength 0 and strength 1."""


@dataclass
class Controls:
    """State of a live run. The user changes this state with keys.

    Attributes:
        strength: requested strength of the redirection in [0, 1]. The strength applies only while
            `is_on` is `True`.
        is_on: whether eyes are redirected.
        overlay: whether eye outlines, gaze arrows and labels are drawn on the frames.
        stop: event that is set when the user ends the run.
    """

    strength: float = 1.0
    is_on: bool = True
    overlay: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def in_words(self) -> str:
        """Return the requested strength as text, or "off"."""
        return f"strength {self.strength:.1f}" if self.is_on else "off"

    def press(self, key: str) -> None:
        """Apply a key press.

        Args:
            key: one character. `KEYS` lists the keys. In addition, `=` has the effect of `+`, `_`
                has the effect of `-`, and Escape has the effect of `q`. Other keys are ignored.
        """
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

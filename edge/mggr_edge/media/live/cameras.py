"""List and read the cameras of this machine, and control a live run with keys.

OpenCV reads the cameras: with V4L2 on Linux, with Media Foundation or DirectShow on Windows, and
with AVFoundation on macOS.

For large raw frames, a USB camera has a low frame rate. Over USB 2, for example, 10 frames per
second at 1280 x 720 are usual. With Motion JPEG, the same camera sends 30 frames per second. The
program must request Motion JPEG, because the camera does not use this format by default.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import silent_opencv
from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import CameraFormat, LiveAddress

_APIS = {"win32": (cv2.CAP_MSMF, cv2.CAP_DSHOW), "darwin": (cv2.CAP_AVFOUNDATION,)}
"""Operating system -> OpenCV's interfaces to its cameras, in the order in which they are tried."""

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


class CameraCapture:
    """Capture for a camera of this machine.

    This class was not tested on hardware, nor on Windows and macOS. Tests replace OpenCV's capture
    class.

    The camera may not support the requested size or rate for raw frames. In this case, the class
    requests Motion JPEG from the camera.

    Attributes:
        mode: actual frame format of the camera.

    Args:
        address: address of the camera. Its `place` is the device file of a V4L2 camera, or the
            number of another camera.
        wanted: requested size and rate. The camera selects the nearest mode that it supports.

    Raises:
        StreamError: the device does not exist or cannot be opened.
    """

    def __init__(self, address: LiveAddress, wanted: CameraFormat) -> None:
        self._address, self._wanted = address, wanted
        if address.scheme == "v4l2" and not Path(address.place).exists():
            raise StreamError(
                f"{address} does not exist; `mggr-edge cameras` lists the cameras of this machine",
                code="camera-not-found",
                address=str(address),
            )
        device = _opened(address.place if address.scheme == "v4l2" else int(address.place))
        if device is None:
            raise StreamError(
                f"{address} cannot be opened: it is in use, this program has no permission, or it "
                "is not a camera; run `mggr-edge cameras` and `mggr-edge doctor`",
                code="camera-open-failed",
                address=str(address),
            )
        self._device = device
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


def _opened(place: str | int) -> cv2.VideoCapture | None:
    """Open a camera with the first interface that supports it; return `None` if none does."""
    apis = (cv2.CAP_V4L2,) if isinstance(place, str) else _APIS.get(sys.platform, (cv2.CAP_ANY,))
    for api in apis:
        device = cv2.VideoCapture(place, api)
        if device.isOpened():
            return device
        device.release()
    return None


@dataclass(frozen=True)
class FoundCamera:
    """A camera of this machine.

    Attributes:
        address: INPUT that selects the camera.
        name: name of the camera, or its frame size if the name is unknown.
    """

    address: str
    name: str


_SYSFS = Path("/sys/class/video4linux")
_MOST_CAMERAS = 10


def list_cameras() -> tuple[FoundCamera, ...]:
    """Return the cameras of this machine.

    On Linux, no camera is opened. On other systems, OpenCV has no list of the cameras. Therefore
    the cameras with the numbers 0 to 9 are opened for a moment.
    """
    if sys.platform == "linux":
        return _linux_cameras()
    found = []
    with silent_opencv():
        for number in range(_MOST_CAMERAS):
            device = _opened(number)
            if device is None:
                break  # The systems number their cameras without gaps.
            mode = _set(device, CameraFormat())
            device.release()
            found.append(FoundCamera(f"camera://{number}", f"{mode.width} x {mode.height}"))
    return tuple(found)


def _linux_cameras() -> tuple[FoundCamera, ...]:
    found = []
    folders = [path for path in _SYSFS.glob("video*") if path.name[5:].isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.name[5:])):
        # A camera has several device files. The others provide metadata instead of frames.
        if _text(folder / "index") in ("0", ""):
            name = _text(folder / "name") or "unknown name"
            found.append(FoundCamera(f"/dev/{folder.name}", name))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


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

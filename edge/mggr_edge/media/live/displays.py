"""Live outputs that show pictures: a window, a virtual camera."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.v4l2 import Controls

TITLE = "mggr-edge"

_WIDEST_PX = 1280
"""At first; the mouse may pull it wider."""

_KEY_MS = 1
_NO_KEY = -1
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


class _Window:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        cv2.imshow(TITLE, np.ascontiguousarray(rgb[..., ::-1]))
        key = cv2.waitKey(_KEY_MS)
        if key != _NO_KEY:
            self._controls.press(chr(key & 0xFF))
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self._controls.stop.set()  # closed by the mouse


@contextmanager
def open_window(layout: VideoLayout, controls: Controls) -> Iterator[_Window]:
    """Opens a window, from the main thread.

    Args:
        layout: size of the frames.
        controls: what its keys change, and closing it stops.

    Raises:
        MissingPackageError: this OpenCV was built without windows.
        StreamError: there is no screen.
    """
    if not has_windows():
        raise MissingPackageError("an OpenCV with windows (opencv-python)", "display")
    # Asked before OpenCV is: without a screen its toolkit ends the whole process.
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _SCREENS):
        raise StreamError(
            "there is no screen here (DISPLAY is not set); leave the window out with --headless"
        )
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        height, width = layout.size
        scale = min(1.0, _WIDEST_PX / width)
        cv2.resizeWindow(TITLE, round(scale * width), round(scale * height))
    except cv2.error as error:
        raise StreamError(f"a window cannot be opened: {' '.join(str(error).split())}") from error
    try:
        yield _Window(controls)
    finally:
        cv2.destroyAllWindows()


def has_windows() -> bool:
    """Whether this OpenCV can show any; the headless wheel cannot."""
    gui = [line for line in cv2.getBuildInformation().splitlines() if line.strip()[:4] == "GUI:"]
    return bool(gui) and "NONE" not in gui[0]


class _Writer:
    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        # Shown at once: the source sets the pace.
        self._camera.send(np.ascontiguousarray(rgb))


@contextmanager
def open_virtual_camera(device: str, layout: VideoLayout) -> Iterator[_Writer]:
    """Opens a device; no loopback device has been seen yet.

    Args:
        device: its file, e.g. /dev/video10.
        layout: size and nominal rate of the frames.

    Raises:
        MissingPackageError: pyvirtualcam is not installed.
        StreamError: no such device, or one that does not take frames of this size.
    """
    try:
        import pyvirtualcam
    except ModuleNotFoundError as error:
        raise MissingPackageError("pyvirtualcam", "virtual-camera") from error
    height, width = layout.size
    try:
        camera = pyvirtualcam.Camera(
            width=width, height=height, fps=float(layout.rate), device=device
        )
    except RuntimeError as error:
        raise StreamError(
            f"{device} cannot be opened as a virtual camera ({' '.join(str(error).split())}); "
            f"make one with: modprobe v4l2loopback video_nr={device.removeprefix('/dev/video')} "
            "exclusive_caps=1"
        ) from error
    with camera:
        yield _Writer(camera)

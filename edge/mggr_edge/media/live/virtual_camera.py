"""Frames into a v4l2loopback device, by pyvirtualcam."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout


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

"""Define addresses of live sources, and the frame format that is requested from a camera."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.addresses import input_address, redact_credentials

Scheme = Literal["rtsp", "camera", "v4l2", "csi", "film", "still"]
"""Kind of a live source.

`camera` is a camera on Windows and macOS. `film` is a video file and `still` is a picture file."""


@dataclass(frozen=True)
class LiveAddress:
    """Address of a live source.

    Attributes:
        scheme: kind of the source. The kind selects the capture class.
        place: URL of a stream, number of a camera or of a CSI sensor, path of a device file, or
            path of a file.
        loops: number of repetitions of a video file after it was played once. -1 means that the
            file is played without end.
    """

    scheme: Scheme
    place: str
    loops: int = 0

    @property
    def is_own_camera(self) -> bool:
        """`True` if the source is a camera that is connected to this machine."""
        return self.scheme in ("csi", "camera", "v4l2")

    def __str__(self) -> str:
        """Return the address for display and logging, without a password."""
        is_number = self.scheme in ("csi", "camera")
        return f"{self.scheme}://{self.place}" if is_number else redact_credentials(self.place)


def live_address(text: str) -> LiveAddress | None:
    """Parse an INPUT and return the address of the live source.

    Returns:
        The address. `None` means that the INPUT is a file or folder.

    Raises:
        UsageError: see `mggr_edge.common.addresses.input_address`.
    """
    address = input_address(text)
    match address.scheme:
        case "camera" if sys.platform == "linux":
            return LiveAddress("v4l2", f"/dev/video{address.place}")
        case "rtsp" | "camera" | "v4l2" | "csi":
            return LiveAddress(address.scheme, address.place)
        case _:
            return None


Flip = Literal["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]
"""Rotation or mirroring of a frame.

Rotations are clockwise, in degrees. `horizontal` exchanges left and right. `vertical` exchanges top
and bottom."""

FLIPS: tuple[str, ...] = get_args(Flip)

_ROTATIONS = {
    "rotate-90": cv2.ROTATE_90_CLOCKWISE,
    "rotate-180": cv2.ROTATE_180,
    "rotate-270": cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORS = {"horizontal": 1, "vertical": 0}


@dataclass(frozen=True)
class CameraFormat:
    """Requested frame format of a camera.

    If `width`, `height` or `rate` is `None`, the default of the camera is used.

    Attributes:
        width, height: frame size in pixels, before the rotation.
        rate: frame rate in frames per second.
        flip: rotation or mirroring of the frames; see `Flip`.
    """

    width: int | None = None
    height: int | None = None
    rate: int | None = None
    flip: Flip = "none"

    @property
    def is_asked_for(self) -> bool:
        """`True` if a size or rate is requested from the camera. `flip` does not matter."""
        return (self.width, self.height, self.rate) != (None, None, None)

    def filled(self, default: CameraFormat) -> CameraFormat:
        """Return a copy of this format that has no missing values.

        If the width, height or rate is missing, the copy has the value of `default`.
        """
        return CameraFormat(
            self.width or default.width,
            self.height or default.height,
            self.rate or default.rate,
            self.flip,
        )


ANY_FORMAT = CameraFormat()
"""Camera format without a requested size or rate, and without rotation or mirroring."""


def flipped(rgb: NDArray[np.uint8], flip: Flip) -> NDArray[np.uint8]:
    """Rotate or mirror a frame [H, W, 3] as `flip` specifies."""
    if flip in _ROTATIONS:
        return np.asarray(cv2.rotate(rgb, _ROTATIONS[flip]), np.uint8)
    if flip in _MIRRORS:
        return np.asarray(cv2.flip(rgb, _MIRRORS[flip]), np.uint8)
    return rgb

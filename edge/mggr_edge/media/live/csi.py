"""CSI cameras of a Jetson through GStreamer, and the format that a camera is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import LiveAddress

_PACKAGES = "python3-gi gir1.2-gstreamer-1.0"
_SERVER_PACKAGES = f"{_PACKAGES} gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly"


@dataclass(frozen=True)
class GStreamer:
    """The modules, initialised; `rtsp` is None unless it was asked for."""

    gst: Any
    glib: Any
    rtsp: Any = None


def import_gstreamer(*, serving: bool = False) -> GStreamer:
    """Imports GStreamer.

    Args:
        serving: its RTSP server too.

    Raises:
        StreamError: they, or Python's bindings to them, are not there; with what mends it.
    """
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import GLib, Gst

        rtsp = None
        if serving:
            gi.require_version("GstRtspServer", "1.0")
            from gi.repository import GstRtspServer

            rtsp = GstRtspServer
    except (ImportError, ValueError, AttributeError) as error:  # the last one of a folder `gi`
        what = "GStreamer's RTSP server" if serving else "GStreamer"
        packages = _SERVER_PACKAGES if serving else _PACKAGES
        raise StreamError(
            f"{what} cannot be used ({error}); on Debian, Ubuntu or a Jetson: apt install "
            f"{packages}, in an environment that was made with --system-site-packages"
        ) from error
    Gst.init(None)
    return GStreamer(Gst, GLib, rtsp)


Flip = Literal["none", "rotate-90", "rotate-180", "rotate-270", "horizontal", "vertical"]
"""What is done to a picture; turns are clockwise, `horizontal` swaps left and right."""

FLIPS: tuple[str, ...] = get_args(Flip)

_ROTATIONS = {
    "rotate-90": cv2.ROTATE_90_CLOCKWISE,
    "rotate-180": cv2.ROTATE_180,
    "rotate-270": cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORS = {"horizontal": 1, "vertical": 0}


@dataclass(frozen=True)
class CameraFormat:
    """What is asked of a camera; None leaves it to the camera.

    Attributes:
        width, height: in pixels, before it is turned.
        rate: frames per second.
        flip: see `Flip`.
    """

    width: int | None = None
    height: int | None = None
    rate: int | None = None
    flip: Flip = "none"

    @property
    def is_asked_for(self) -> bool:
        """Whether the camera itself is asked for anything."""
        return (self.width, self.height, self.rate) != (None, None, None)

    def filled(self, default: CameraFormat) -> CameraFormat:
        """With a default in place of what is not said."""
        return CameraFormat(
            self.width or default.width,
            self.height or default.height,
            self.rate or default.rate,
            self.flip,
        )


ANY_FORMAT = CameraFormat()
"""Nothing is asked for, nothing is turned."""


def flipped(rgb: NDArray[np.uint8], flip: Flip) -> NDArray[np.uint8]:
    """A picture [H, W, 3] turned or mirrored."""
    if flip in _ROTATIONS:
        return np.asarray(cv2.rotate(rgb, _ROTATIONS[flip]), np.uint8)
    if flip in _MIRRORS:
        return np.asarray(cv2.flip(rgb, _MIRRORS[flip]), np.uint8)
    return rgb


_SOURCE = "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{caps} ! nvvidconv"
_TO_RGB = (
    "! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=RGB "
    "! appsink name=frames max-buffers=1 drop=true sync=false"
)
_DEFAULT = CameraFormat(1280, 720, 30)

_SILENT_NS = 5_000_000_000
_NS_PER_S = 1e9


class CsiCapture:
    """A camera. Not seen on hardware: in tests another source stands in NVIDIA's place.

    Args:
        address: `place` is the sensor's number.
        wanted: size and rate; what is not said is 1280 x 720 at 30.

    Raises:
        StreamError: no GStreamer, no such source, or a camera that does not start.
    """

    def __init__(self, address: LiveAddress, wanted: CameraFormat) -> None:
        self._address = address
        gstreamer = import_gstreamer()
        self._gst = gstreamer.gst
        wanted = wanted.filled(_DEFAULT)
        caps = f"width={wanted.width},height={wanted.height},framerate={wanted.rate}/1"
        source = _SOURCE.format(sensor=address.place, caps=caps)
        try:
            self._pipeline = self._gst.parse_launch(f"{source} {_TO_RGB}")
        except gstreamer.glib.Error as error:
            raise StreamError(f"{address} cannot be opened: {error.message}") from error
        self._sink = self._pipeline.get_by_name("frames")
        self._pipeline.set_state(self._gst.State.PLAYING)
        self.stream_time_s: float | None = None
        """The last frame's time in seconds by the pipeline's clock."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; a camera never ends, so none is a loss."""
        sample = self._sink.emit("try-pull-sample", _SILENT_NS)
        if sample is None:
            raise StreamError(f"{self._address} is lost: {self._reason()}")
        caps = sample.get_caps().get_structure(0)
        width, height = caps.get_value("width"), caps.get_value("height")
        buffer = sample.get_buffer()
        pts_ns = buffer.pts
        self.stream_time_s = None if pts_ns == self._gst.CLOCK_TIME_NONE else pts_ns / _NS_PER_S
        content = buffer.extract_dup(0, buffer.get_size())
        # Rows are padded to four bytes.
        rows = np.frombuffer(content, np.uint8).reshape(height, -1)
        return np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)

    def close(self) -> None:
        """Lets go of the camera."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _reason(self) -> str:
        kind = self._gst.MessageType.ERROR
        message = self._pipeline.get_bus().pop_filtered(kind)
        if message is None and self._sink.get_property("eos"):
            return "it has ended"
        if message is None:
            return f"no picture for {_SILENT_NS / 1e9:g} seconds"
        error, _ = message.parse_error()
        return str(error.message)

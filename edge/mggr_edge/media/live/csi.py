"""A Jetson's CSI cameras, read by GStreamer through NVIDIA's own source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.camera_format import PictureFormat
from mggr_edge.media.live.gstreamer import import_gstreamer

_SOURCE = "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{caps} ! nvvidconv"
_TO_RGB = (
    "! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=RGB "
    "! appsink name=frames max-buffers=1 drop=true sync=false"
)
_DEFAULT = PictureFormat(1280, 720, 30)

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

    def __init__(self, address: LiveAddress, wanted: PictureFormat) -> None:
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

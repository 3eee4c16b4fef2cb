"""Read CSI cameras of a Jetson with GStreamer, and import GStreamer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import CameraFormat, LiveAddress

_PACKAGES = "python3-gi gir1.2-gstreamer-1.0"
_SERVER_PACKAGES = f"{_PACKAGES} gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly"


@dataclass(frozen=True)
class GStreamer:
    """Initialized modules of GStreamer.

    Attributes:
        gst: module `Gst`.
        glib: module `GLib`.
        rtsp: module `GstRtspServer`. `None` means that this module was not requested.
        digest: name of the digest authentication of a server. `None` as for `rtsp`.
    """

    gst: Any
    glib: Any
    rtsp: Any = None
    digest: Any = None


def import_gstreamer(*, serving: bool = False) -> GStreamer:
    """Import and initialize GStreamer.

    Args:
        serving: whether GStreamer's RTSP server is also imported.

    Raises:
        StreamError: GStreamer or its Python bindings are not installed. The message contains the
            command that installs them.
    """
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import GLib, Gst

        rtsp = digest = None
        if serving:
            gi.require_version("GstRtsp", "1.0")
            gi.require_version("GstRtspServer", "1.0")
            from gi.repository import GstRtsp, GstRtspServer

            rtsp = GstRtspServer
            digest = GstRtsp.RTSPAuthMethod.DIGEST
    except (ImportError, ValueError, AttributeError) as error:
        # AttributeError occurs if Python finds a folder named `gi` instead of the package.
        what = "GStreamer's RTSP server" if serving else "GStreamer"
        packages = _SERVER_PACKAGES if serving else _PACKAGES
        raise StreamError(
            f"{what} cannot be imported ({error}); on Debian, Ubuntu or a Jetson, run: sudo apt "
            f"install {packages}; a virtual environment needs --system-site-packages",
            code="gstreamer-unavailable",
            reason=error,
            serving=serving,
            packages=packages,
        ) from error
    Gst.init(None)
    return GStreamer(Gst, GLib, rtsp, digest)


_SOURCE = "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{caps} ! nvvidconv"
_TO_RGB = (
    "! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=RGB "
    "! appsink name=frames max-buffers=1 drop=true sync=false"
)
_DEFAULT = CameraFormat(1280, 720, 30)

_SILENT_NS = 5_000_000_000
_NS_PER_S = 1e9


class CsiCapture:
    """Capture for a CSI camera.

    This class was not tested on hardware. Tests replace NVIDIA's camera source by another source.

    Args:
        address: address of the camera. Its `place` is the number of the sensor.
        wanted: requested size and rate. The default is 1280 x 720 at 30 frames per second.

    Raises:
        StreamError: GStreamer or NVIDIA's camera source is not installed.
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
            raise StreamError(
                f"{address} cannot be opened: {error.message}; run `mggr-edge doctor`",
                code="csi-pipeline-invalid",
                address=str(address),
                reason=error.message,
            ) from error
        self._sink = self._pipeline.get_by_name("frames")
        state = self._pipeline.set_state(self._gst.State.PLAYING)
        if state == self._gst.StateChangeReturn.FAILURE:
            reason = self._reason()
            self.close()
            raise StreamError(
                f"{address} cannot be opened: {reason}",
                code="csi-open-failed",
                address=str(address),
                reason=reason,
            )
        self.stream_time_s: float | None = None
        """Time of the last frame, in seconds of the pipeline's clock.

        `None` means that the time is unknown."""

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame; see `Capture`.

        Raises:
            StreamError: no frame arrived before the timeout. The stream of a camera never ends, so
                a missing frame means that the camera is lost.
        """
        sample = self._sink.emit("try-pull-sample", _SILENT_NS)
        if sample is None:
            reason = self._reason()
            raise StreamError(
                f"connection to {self._address} lost: {reason}",
                code="csi-connection-lost",
                address=str(self._address),
                reason=reason,
            )
        caps = sample.get_caps().get_structure(0)
        width, height = caps.get_value("width"), caps.get_value("height")
        buffer = sample.get_buffer()
        pts_ns = buffer.pts
        self.stream_time_s = None if pts_ns == self._gst.CLOCK_TIME_NONE else pts_ns / _NS_PER_S
        content = buffer.extract_dup(0, buffer.get_size())
        # GStreamer pads each row to a multiple of four bytes.
        rows = np.frombuffer(content, np.uint8).reshape(height, -1)
        return np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)

    def close(self) -> None:
        """Release the camera."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _reason(self) -> str:
        kind = self._gst.MessageType.ERROR
        message = self._pipeline.get_bus().pop_filtered(kind)
        if message is None and self._sink.get_property("eos"):
            return "the stream has ended"
        if message is None:
            return f"no frame for {_SILENT_NS / 1e9:g} seconds"
        error, _ = message.parse_error()
        return str(error.message)

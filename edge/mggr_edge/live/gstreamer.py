"""GStreamer by PyGObject: the device's own, imported where it is needed and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mggr_edge.errors import StreamError

_PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly"


@dataclass(frozen=True)
class GStreamer:
    """The modules, initialised."""

    gst: Any
    glib: Any
    rtsp: Any


def import_gstreamer() -> GStreamer:
    """Imports GStreamer and its RTSP server.

    Raises:
        StreamError: they, or Python's bindings to them, are not there; with what mends it.
    """
    try:
        import gi

        for name in ("Gst", "GstRtspServer"):
            gi.require_version(name, "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError) as error:
        raise StreamError(
            f"GStreamer's RTSP server cannot be used ({error}); on Debian, Ubuntu or a Jetson: "
            f"apt install {_PACKAGES}, in an environment that was made with --system-site-packages"
        ) from error
    Gst.init(None)
    return GStreamer(Gst, GLib, GstRtspServer)

"""GStreamer by PyGObject: the device's own, imported where it is needed and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mggr_edge.errors import StreamError

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

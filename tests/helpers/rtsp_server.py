"""A real RTSP server, with GStreamer: `python rtsp_server.py FRAMES PORT [sound|FILM.mp4]`.

Of a film, an MP4 with H.264, every session sees all, from the start.
Serves colour bars of 320 x 240 at 25 frames a second under /bars, so many frames a session
(0: for ever), and prints its port (of its own choice for 0) when it is ready.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "videotestsrc is-live=true pattern=smpte num-buffers={count} "
    "! video/x-raw,width=320,height=240,framerate=25/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 "
    "! rtph264pay name=pay0 pt=96 config-interval=1"
)
FILM = (
    '( filesrc location="{film}" ! qtdemux ! h264parse '
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
SOUND = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 pt=8"


def main() -> None:
    """Serves until it is killed."""
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    frames = int(sys.argv[1])
    sound = SOUND if sys.argv[3:] == ["sound"] else ""
    bars = f"( {PIPELINE.format(count=frames or -1)} {sound} )"
    film = next((argument for argument in sys.argv[3:] if argument.endswith(".mp4")), None)
    factory.set_launch(bars if film is None else FILM.format(film=film))
    factory.set_shared(False)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[2])
    server.get_mount_points().add_factory("/bars", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()

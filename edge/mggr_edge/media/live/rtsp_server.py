"""An RTSP server in this process: every client sees the frames as they are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.csi import GStreamer, import_gstreamer

_ENCODERS = {
    # A Jetson's own; not seen on hardware.
    "nvv4l2h264enc": "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 "
    "! nvv4l2h264enc insert-sps-pps=true idrinterval=30",
    "x264enc": "x264enc tune=zerolatency speed-preset=veryfast key-int-max=30",
}
"""The first one that GStreamer knows, and that gets ready, is taken: NVIDIA's plugin is there on
an Orin Nano too, which has no encoder."""

_PIPELINE = (
    "( appsrc name=frames is-live=true do-timestamp=true format=time "
    "caps=video/x-raw,format=RGB,width={width},height={height},framerate={rate} "
    "! videoconvert ! video/x-raw,format=I420 ! {encoder} "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)

_SESSIONS_EVERY_S = 2
"""How often sessions of clients that went away without a goodbye are looked for."""


class _Served:
    """The appsrc of the one pipeline that all who are connected share; none while nobody is."""

    def __init__(self, gstreamer: GStreamer) -> None:
        self._gst = gstreamer.gst
        self._lock = threading.Lock()
        self._source: Any = None
        self._is_hungry = False

    def configure(self, factory: Any, media: Any) -> None:
        """Somebody has connected: takes the new pipeline's source."""
        source = media.get_element().get_by_name_recurse_up("frames")
        # Pushed only while wanted: what piles up in a source is memory, and the past.
        source.connect("need-data", lambda *_: self._set(source, hungry=True))
        source.connect("enough-data", lambda *_: self._set(source, hungry=False))
        media.connect("unprepared", lambda *_: self._forget(source))

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        with self._lock:
            source = self._source if self._is_hungry else None
        # Not under the lock: a source that is full says so from within this very call.
        if source is not None:
            content = np.ascontiguousarray(rgb).tobytes()
            source.emit("push-buffer", self._gst.Buffer.new_wrapped(content))

    def _set(self, source: Any, *, hungry: bool) -> None:
        with self._lock:
            self._source, self._is_hungry = source, hungry

    def _forget(self, source: Any) -> None:
        """A pipeline has ended, perhaps after the next one began."""
        with self._lock:
            if self._source is source:
                self._source, self._is_hungry = None, False


@contextmanager
def open_rtsp_server(host: str, port: int, name: str, layout: VideoLayout) -> Iterator[_Served]:
    """Serves rtsp://HOST:PORT/NAME until the context is left.

    Args:
        host: the address that is listened on.
        port: the port.
        name: of the stream.
        layout: size and nominal rate of the frames; sides are even.

    Raises:
        StreamError: GStreamer or its encoders are not there, or nobody can listen there.
    """
    gstreamer = import_gstreamer(serving=True)
    encoder = next((name for name in _ENCODERS if _gets_ready(gstreamer, name)), None)
    if encoder is None:
        raise StreamError(f"GStreamer has no H.264 encoder of {', '.join(_ENCODERS)}")
    height, width = layout.size
    if height % 2 or width % 2:
        raise StreamError(f"RTSP sends H.264, which needs even sizes, not {width} x {height}")
    served = _Served(gstreamer)
    factory = gstreamer.rtsp.RTSPMediaFactory()
    factory.set_launch(
        _PIPELINE.format(
            width=width,
            height=height,
            rate=f"{layout.rate.numerator}/{layout.rate.denominator}",
            encoder=_ENCODERS[encoder],
        )
    )
    factory.set_shared(True)
    factory.connect("media-configure", served.configure)
    server = gstreamer.rtsp.RTSPServer()
    server.set_address(host)
    server.set_service(str(port))
    server.get_mount_points().add_factory(f"/{name}", factory)
    context = gstreamer.glib.MainContext()
    loop = gstreamer.glib.MainLoop(context=context)
    attached = server.attach(context)
    if not attached:
        raise StreamError(
            f"rtsp://{host}:{port}/{name} cannot be served: {host}:{port} is in use, not "
            "permitted, or no address of this machine"
        )
    # A client that loses its network closes nothing. Frames are encoded and sent to it until its
    # session is removed, which the server does only on request.
    sessions = server.get_session_pool()
    look = gstreamer.glib.timeout_source_new_seconds(_SESSIONS_EVERY_S)
    look.set_callback(lambda *_: sessions.cleanup() >= 0)
    look.attach(context)
    thread = threading.Thread(target=loop.run, name="rtsp server", daemon=True)
    thread.start()
    try:
        yield served
    finally:
        remove = gstreamer.rtsp.RTSPFilterResult.REMOVE

        def end(*_: object) -> None:
            server.client_filter(lambda *_: remove)
            context.find_source_by_id(attached).destroy()
            look.destroy()
            loop.quit()

        # Within the loop: a quit that comes before `run` has begun would be lost, and a client
        # that another thread removes may just be served. Before all else that the loop does.
        ending = gstreamer.glib.Idle()
        ending.set_priority(gstreamer.glib.PRIORITY_HIGH)
        ending.set_callback(end)
        ending.attach(context)
        thread.join()


def _gets_ready(gstreamer: GStreamer, name: str) -> bool:
    """Whether an element is there, and opens the device that it needs."""
    gst = gstreamer.gst
    element = gst.ElementFactory.make(name)
    if element is None:
        return False
    is_ready = element.set_state(gst.State.READY) != gst.StateChangeReturn.FAILURE
    element.set_state(gst.State.NULL)
    return is_ready

"""Run an RTSP server that sends the processed frames to all clients in real time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.addresses import Served
from mggr_edge.errors import StreamError
from mggr_edge.media.files.video_reader import TimedFrame, VideoLayout
from mggr_edge.media.live.csi import GStreamer, import_gstreamer

_ENCODERS = {
    # Hardware encoder of a Jetson. This encoder was not tested on hardware.
    "nvv4l2h264enc": "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 "
    "! nvv4l2h264enc insert-sps-pps=true idrinterval=30",
    "x264enc": "x264enc tune=zerolatency speed-preset=veryfast key-int-max=30",
}
"""Pipeline description for each H.264 encoder. The keys are GStreamer's names of the encoders.

The server uses the first encoder that is installed and can open its hardware device. The device
must be tested: NVIDIA's plugin is also installed on an Orin Nano, which has no hardware encoder."""

_PIPELINE = (
    "( appsrc name=frames is-live=true do-timestamp=true format=time "
    "caps=video/x-raw,format=RGB,width={width},height={height},framerate={rate} "
    "! videoconvert ! video/x-raw,format=I420 ! {encoder} "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)

_VIEWER = "viewer"
"""Role of clients that have sent the password."""

_SESSIONS_EVERY_S = 2
"""Interval in seconds at which the server removes the sessions of lost clients.

A lost client has lost its network connection and did not close its session."""


class _Served:
    """Writer that sends frames to the pipeline. All connected clients share the pipeline.

    The pipeline and its `appsrc` exist only while at least one client is connected. Without a
    client, frames are dropped.

    Args:
        gstreamer: initialized modules of GStreamer.
    """

    def __init__(self, gstreamer: GStreamer) -> None:
        self._gst = gstreamer.gst
        self._lock = threading.Lock()
        self._source: Any = None
        self._is_hungry = False

    def configure(self, factory: Any, media: Any) -> None:
        """Connect this writer to a new pipeline.

        The server calls this method when the first client connects.
        """
        source = media.get_element().get_by_name_recurse_up("frames")
        # Frames are pushed only while the source requests data. Otherwise, frames would be
        # buffered, which needs memory and adds latency.
        source.connect("need-data", lambda *_: self._set(source, hungry=True))
        source.connect("enough-data", lambda *_: self._set(source, hungry=False))
        media.connect("unprepared", lambda *_: self._forget(source))

    def write(self, rgb: NDArray[np.uint8], at: TimedFrame) -> None:
        with self._lock:
            source = self._source if self._is_hungry else None
        # The lock is released here. A full source emits `enough-data` during the following call,
        # and the handler of this signal acquires the lock.
        if source is not None:
            content = np.ascontiguousarray(rgb).tobytes()
            source.emit("push-buffer", self._gst.Buffer.new_wrapped(content))

    def _set(self, source: Any, *, hungry: bool) -> None:
        with self._lock:
            self._source, self._is_hungry = source, hungry

    def _forget(self, source: Any) -> None:
        """Remove the reference to the source of a pipeline that has ended.

        If a newer pipeline has already replaced this source, nothing changes.
        """
        with self._lock:
            if self._source is source:
                self._source, self._is_hungry = None, False


@contextmanager
def open_rtsp_server(address: Served, layout: VideoLayout) -> Iterator[_Served]:
    """Serve frames at rtsp://HOST:PORT/NAME until the context ends.

    Args:
        address: network address of the stream. If it contains a user name and a password, clients
            must send them, with digest authentication. The frames are not encrypted.
        layout: layout with the size and nominal rate of the frames. The width and the height must
            be even.

    Raises:
        StreamError: GStreamer or an H.264 encoder is not installed, the frame size is odd, or the
            server cannot listen on the address.
    """
    gstreamer = import_gstreamer(serving=True)
    host, port, name = address.host, address.port, address.path
    encoder = next((name for name in _ENCODERS if _gets_ready(gstreamer, name)), None)
    if encoder is None:
        raise StreamError(
            f"GStreamer has no usable H.264 encoder; install one of {', '.join(_ENCODERS)} "
            "(`mggr-edge doctor` prints the command)",
            code="h264-encoder-missing",
            encoders=", ".join(_ENCODERS),
        )
    height, width = layout.size
    if height % 2 or width % 2:
        raise StreamError(
            f"frames of {width} x {height} pixels cannot be served over RTSP: H.264 needs an even "
            "width and height",
            code="rtsp-size-odd",
            width=width,
            height=height,
        )
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
    if address.user is not None:
        _require_password(gstreamer, server, factory, address)
    context = gstreamer.glib.MainContext()
    loop = gstreamer.glib.MainLoop(context=context)
    attached = server.attach(context)
    if not attached:
        raise StreamError(
            f"rtsp://{host}:{port}/{name} cannot be served: {host}:{port} is in use, not "
            "permitted, or not an address of this machine",
            code="rtsp-listen-failed",
            host=host,
            port=port,
            name=name,
        )
    # A client that loses its network connection does not close its session. The server encodes and
    # sends frames to this client until the session is removed. The program must call `cleanup` to
    # remove lost sessions.
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

        # `end` runs inside the main loop, for two reasons. A `quit` before the start of `run` would
        # have no effect. Another thread could remove a client while the loop serves this client.
        # With the high priority, `end` runs before all other sources of the loop.
        ending = gstreamer.glib.Idle()
        ending.set_priority(gstreamer.glib.PRIORITY_HIGH)
        ending.set_callback(end)
        ending.attach(context)
        thread.join()


def _require_password(gstreamer: GStreamer, server: Any, factory: Any, address: Served) -> None:
    """Serve a stream only to clients that send the user name and the password."""
    rtsp = gstreamer.rtsp
    token = rtsp.RTSPToken()
    token.set_string("media.factory.role", _VIEWER)
    auth = rtsp.RTSPAuth()
    auth.add_digest(address.user, address.password, token)
    auth.set_supported_methods(gstreamer.digest)
    server.set_auth(auth)
    permissions = rtsp.RTSPPermissions()
    permissions.add_role(_VIEWER)
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(_VIEWER, permission, True)
    factory.set_permissions(permissions)


def _gets_ready(gstreamer: GStreamer, name: str) -> bool:
    """Return whether a GStreamer element is installed and can open its hardware device."""
    gst = gstreamer.gst
    element = gst.ElementFactory.make(name)
    if element is None:
        return False
    is_ready = element.set_state(gst.State.READY) != gst.StateChangeReturn.FAILURE
    element.set_state(gst.State.NULL)
    return is_ready

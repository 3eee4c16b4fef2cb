"""GStreamer element `mggrgaze`: redirect the gaze in the frames of a pipeline, in place.

::

    gst-launch-1.0 v4l2src ! videoconvert ! mggrgaze ! videoconvert ! autovideosink

A Python program registers the element with `register()`. For `gst-launch-1.0`, the folder
`examples/gstreamer` contains a plugin file; see docs/hosts.md.

The element changes the pixels of the buffers that it receives, and keeps their times. The pixel
formats are RGB, BGR, RGBx, BGRx, RGBA, BGRA, NV12 and GRAY8. If the model cannot be opened, the
pipeline gets an error message and stops.

PyGObject returns the content of a buffer as a copy. Therefore this module maps buffers with ctypes.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MggrError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.frame_formats import Color
from mggr_edge.pipeline.redirector import Redirector

_log = logging.getLogger(__name__)

NAME = "mggrgaze"

_COLORS: dict[str, tuple[Color, int]] = {
    "RGB": ("rgb", 3),
    "BGR": ("bgr", 3),
    "RGBx": ("rgb", 4),
    "BGRx": ("bgr", 4),
    "RGBA": ("rgb", 4),
    "BGRA": ("bgr", 4),
    "GRAY8": ("gray", 1),
    "NV12": ("nv12", 1),
}
"""Pixel format -> format of the redirector, and number of bytes per pixel of the first plane."""

_CAPS = (
    f"video/x-raw, format=(string){{{', '.join(_COLORS)}}}, width=(int)[16, 16384], "
    "height=(int)[16, 16384], framerate=(fraction)[0/1, 2147483647/1]"
)
_MAP_READ_WRITE = 3


class _MapInfo(ctypes.Structure):
    """`GstMapInfo` of the C interface of GStreamer 1.x."""

    _fields_ = [
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("_gst_reserved", ctypes.c_void_p * 4),
    ]


@cache
def _library() -> ctypes.CDLL:
    """Return the C library of GStreamer, with the types of the functions that are used here."""
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_buffer_map.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_MapInfo),
        ctypes.c_int,
    ]
    library.gst_buffer_map.restype = ctypes.c_int
    library.gst_buffer_unmap.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MapInfo)]
    library.gst_buffer_unmap.restype = None
    return library


@contextmanager
def writable_bytes(buffer: Any) -> Iterator[NDArray[np.uint8]]:
    """Map a buffer, and return its bytes as a writable array, without a copy.

    The array must not be used after the context.

    Args:
        buffer: a writable `Gst.Buffer`.

    Raises:
        ValueError: the buffer cannot be mapped for writing.
    """
    library, address, info = _library(), hash(buffer), _MapInfo()
    if not library.gst_buffer_map(address, ctypes.byref(info), _MAP_READ_WRITE):
        raise ValueError("the buffer cannot be mapped for writing")
    try:
        content = (ctypes.c_uint8 * info.size).from_address(info.data)
        yield np.frombuffer(content, np.uint8)
    finally:
        library.gst_buffer_unmap(address, ctypes.byref(info))


def frame_view(content: NDArray[np.uint8], info: Any) -> NDArray[np.uint8] | None:
    """Return a view of the pixels of a frame, in the layout of the redirector.

    Args:
        content: bytes of the buffer.
        info: `GstVideo.VideoInfo` of the frame.

    Returns:
        [H, W, 3], [H, W] or, for NV12, [3 H / 2, W] uint8. `None` if the planes of an NV12 frame do
        not follow each other with one row length.
    """
    color, size = _COLORS[info.finfo.name]
    height, width, stride = info.height, info.width, info.stride[0]
    start, rows = info.offset[0], height
    if color == "nv12":
        if info.stride[1] != stride or info.offset[1] != start + stride * height:
            return None
        rows = height + height // 2
    # The last row can be shorter than the others.
    used = stride * (rows - 1) + width * size
    view = np.lib.stride_tricks.as_strided(
        content[start : start + used], (rows, width, size), (stride, size, 1)
    )
    return view[..., :3] if size > 1 else view[..., 0]


def _planes(content: NDArray[np.uint8], info: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return views of the two planes of an NV12 frame, [H, W] and [H / 2, W]."""
    planes = []
    for number, rows in enumerate((info.height, info.height // 2)):
        start, stride = info.offset[number], info.stride[number]
        used = stride * (rows - 1) + info.width
        planes.append(
            np.lib.stride_tricks.as_strided(
                content[start : start + used], (rows, info.width), (stride, 1)
            )
        )
    return planes[0], planes[1]


@cache
def element_type() -> Any:
    """Import GStreamer, and return the type of the element `mggrgaze`.

    Raises:
        ImportError: GStreamer's bindings for Python are not installed.
        ValueError: another version of GStreamer is in use.
    """
    import gi

    for name in ("Gst", "GstBase", "GstVideo"):
        gi.require_version(name, "1.0")
    from gi.repository import GObject, Gst, GstBase, GstVideo

    Gst.init_check(None)  # GStreamer refuses all calls before its initialization
    caps = Gst.Caps.from_string(_CAPS)

    class GazeElement(GstBase.BaseTransform):
        """The element `mggrgaze`. Its properties are listed in docs/hosts.md."""

        __gstmetadata__ = (
            "Gaze redirection",
            "Filter/Effect/Video",
            "Change the direction in which the eyes in a video look",
            "mggr-tf",
        )
        __gsttemplates__ = (
            Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, caps),
            Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, caps),
        )
        model = GObject.Property(type=str, default="default", nick="Name or path of a bundle")
        strength = GObject.Property(
            type=float,
            default=1.0,
            minimum=0.0,
            maximum=1.0,
            nick="Fraction of the full redirection",
        )
        pitch = GObject.Property(
            type=float, default=0.0, minimum=-45.0, maximum=45.0, nick="Target pitch, degrees up"
        )
        yaw = GObject.Property(
            type=float, default=0.0, minimum=-45.0, maximum=45.0, nick="Target yaw, degrees right"
        )

        # State of the running pipeline.
        _bundle: Bundle | None = None
        _redirector: Redirector | None = None
        _info: Any = None
        _frames = 0

        def do_start(self) -> bool:
            """Open the model. GStreamer calls this method when the pipeline starts."""
            try:
                self._bundle = Bundle.open(self.model)
                self._bundle.try_out()
                self._redirector = Redirector(self._bundle)
            except (MggrError, ImportError) as error:
                self._report(f"{NAME}: {error}")
                return False
            self._frames = 0
            return True

        def do_stop(self) -> bool:
            """Close the model."""
            self._redirector = None
            if self._bundle is not None:
                self._bundle.close()
                self._bundle = None
            return True

        def do_set_caps(self, caps: Any, _: Any) -> bool:
            """Store the size and the format of the frames."""
            self._info = GstVideo.VideoInfo.new_from_caps(caps)
            if self._redirector is not None:
                self._redirector.reset()
            return self._info is not None

        def do_transform_ip(self, buffer: Any) -> Any:
            """Redirect the gaze in one frame."""
            if self._redirector is None or self._info is None:
                return Gst.FlowReturn.NOT_NEGOTIATED
            try:
                with writable_bytes(buffer) as content:
                    self._redirect(content, self._time_s(buffer))
            except (MggrError, ValueError) as error:
                self._report(f"{NAME}: {error}")
                return Gst.FlowReturn.ERROR
            return Gst.FlowReturn.OK

        def _redirect(self, content: NDArray[np.uint8], time_s: float) -> None:
            assert self._redirector is not None
            redirector = self._redirector
            redirector.strength, redirector.target = self.strength, Gaze(self.pitch, self.yaw)
            color, _ = _COLORS[self._info.finfo.name]
            view = frame_view(content, self._info)
            if view is not None:
                redirector.redirect_frame(view, time_s, color=color, out=view)
                return
            luma, chroma = _planes(content, self._info)
            joined = np.concatenate([luma, chroma])
            redirector.redirect_frame(joined, time_s, color=color, out=joined)
            luma[:], chroma[:] = np.split(joined, [luma.shape[0]])

        def _time_s(self, buffer: Any) -> float:
            """Return the time of a buffer. Without a time, it follows from the frame rate."""
            self._frames += 1
            if buffer.pts != Gst.CLOCK_TIME_NONE:
                return buffer.pts / Gst.SECOND
            rate = self._info.fps_n / max(self._info.fps_d, 1) or 30.0
            return (self._frames - 1) / rate

        def _report(self, text: str) -> None:
            _log.error("%s", text)
            domain, code = Gst.LibraryError.quark(), Gst.LibraryError.FAILED
            self.message_full(Gst.MessageType.ERROR, domain, code, text, None, __file__, NAME, 0)

    return GObject.type_register(GazeElement)


def register() -> Any:
    """Make the element available to all pipelines of this process.

    Returns:
        The module `Gst`.

    Raises:
        ImportError: see `element_type`.
        RuntimeError: GStreamer refuses the element.
    """
    kind = element_type()
    from gi.repository import Gst

    if not Gst.Element.register(None, NAME, Gst.Rank.NONE, kind):
        raise RuntimeError(f"GStreamer refuses the element {NAME}")
    return Gst


def plugin() -> tuple[str, int, Any]:
    """Return the value of `__gstelementfactory__` in a plugin file of GStreamer's Python loader."""
    return NAME, 0, element_type()  # rank 0: GStreamer does not select the element by itself

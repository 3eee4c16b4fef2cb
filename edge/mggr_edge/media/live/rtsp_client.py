"""RTSP streams, read by FFmpeg."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.files.colour import ColourConverter, colour_of
from mggr_edge.media.files.pyav import closed_for_good, import_pyav
from mggr_edge.media.live.address import LiveAddress

_OPEN_S, _SILENT_S = 10.0, 5.0
"""How long a server may take to answer, and to send a frame."""

_OPTIONS = {
    # A packet that UDP loses is a torn picture.
    "rtsp_transport": "tcp",
    # What came while the stream was looked at is the past, and looking is over soon.
    "fflags": "nobuffer",
    "analyzeduration": "500000",
    "flags": "low_delay",
    # Sound would keep a stream alive whose pictures have stopped.
    "allowed_media_types": "video",
}


class RtspCapture:
    """The stream's first video; sound is left alone.

    Frames that arrive damaged are left out: a live picture cannot be sent again.

    Raises:
        StreamError: nobody answers, or there is no video.
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, address: LiveAddress) -> None:
        self._address = address
        self._av = import_pyav()
        with self._told("cannot be opened"):
            self._container = self._av.open(
                address.place, options=_OPTIONS, timeout=(_OPEN_S, _SILENT_S)
            )
        if not self._container.streams.video:
            self.close()
            raise StreamError(f"{address} has no video")
        self._frames = self._whole_frames()
        self._converter: ColourConverter | None = None
        self.stream_time_s: float | None = None
        """The last frame's RTP time in seconds; it starts with the session."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next whole frame; see `Capture`."""
        with self._told("is lost"):
            frame = next(self._frames, None)
        if frame is None:
            return None
        self.stream_time_s = frame.time
        return self._rgb(frame)

    def _whole_frames(self) -> Iterator[Any]:
        """Frames without damage; too long without any is a loss, whatever else arrives."""
        last_s = time.monotonic()
        for packet in self._container.demux(video=0):
            for frame in self._decoded(packet):
                if not frame.is_corrupt:
                    yield frame
                    last_s = time.monotonic()
            if time.monotonic() - last_s > _SILENT_S:
                raise StreamError(
                    f"{self._address} is lost: no whole picture for {_SILENT_S:g} seconds"
                )

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self._av.InvalidDataError:
            # Damaged, or from before the first picture that stands by itself.
            return []

    def close(self) -> None:
        """Ends the session."""
        self._frames = iter(())
        container, self._container = self._container, None
        if container is not None:
            with closed_for_good(container):
                del container

    def _rgb(self, frame: Any) -> NDArray[np.uint8]:
        if self._converter is None:
            codec = self._container.streams.video[0].codec_context
            self._converter = ColourConverter(colour_of(frame, codec))
        return self._converter.rgb_from_frame(frame)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        limit_s = _OPEN_S if what == "cannot be opened" else _SILENT_S
        began_s = time.monotonic()
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            # FFmpeg reports an interrupted wait as whatever it was parsing at that moment.
            if isinstance(error, self._av.ExitError) or time.monotonic() - began_s >= limit_s:
                reason = f"no answer for {limit_s:g} seconds"
            elif error.errno == errno.EIO:  # FFmpeg's result of a failed name lookup
                reason = f"{reason}, as when the host name cannot be resolved"
            raise StreamError(f"{self._address} {what}: {reason}") from error

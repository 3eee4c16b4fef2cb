"""Read RTSP streams with FFmpeg."""

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
"""Timeouts in seconds.

The first is for opening a connection. The second is for the next undamaged frame."""

_OPTIONS = {
    # TCP is used, because each lost UDP packet would damage a frame.
    "rtsp_transport": "tcp",
    # When a stream is opened, FFmpeg analyses it for at most 0.5 seconds. Frames that arrive during
    # this time are not buffered, because buffered frames would add latency.
    "fflags": "nobuffer",
    "analyzeduration": "500000",
    "flags": "low_delay",
    # Audio is excluded. If only the video stops, audio packets would prevent a timeout.
    "allowed_media_types": "video",
}


class RtspCapture:
    """Capture for the first video stream of an RTSP address, without audio.

    Damaged frames are skipped, because the frames of a live stream cannot be requested again.

    Args:
        address: address of the stream. Its `place` is the URL of the stream.

    Raises:
        StreamError: the server does not answer, or the stream has no video.
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, address: LiveAddress) -> None:
        self._address = address
        self._av = import_pyav()
        with self._told(opening=True):
            self._container = self._av.open(
                address.place, options=_OPTIONS, timeout=(_OPEN_S, _SILENT_S)
            )
        if not self._container.streams.video:
            self.close()
            raise StreamError(
                f"{address} has no video stream",
                code="rtsp-without-video",
                address=str(address),
            )
        self._frames = self._whole_frames()
        self._converter: ColourConverter | None = None
        self.stream_time_s: float | None = None
        """RTP time of the last frame, in seconds since the start of the session.

        `None` means that the time is unknown."""

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next undamaged frame; see `Capture`."""
        with self._told(opening=False):
            frame = next(self._frames, None)
        if frame is None:
            return None
        self.stream_time_s = frame.time
        return self._rgb(frame)

    def _whole_frames(self) -> Iterator[Any]:
        """Yield the undamaged frames.

        Raises:
            StreamError: no undamaged frame arrived for `_SILENT_S` seconds. A damaged frame does
                not restart this time.
        """
        last_s = time.monotonic()
        for packet in self._container.demux(video=0):
            for frame in self._decoded(packet):
                if not frame.is_corrupt:
                    yield frame
                    last_s = time.monotonic()
            if time.monotonic() - last_s > _SILENT_S:
                raise StreamError(
                    f"connection to {self._address} lost: no undamaged frame for {_SILENT_S:g} "
                    "seconds",
                    code="rtsp-no-undamaged-frame",
                    address=str(self._address),
                    timeout_s=_SILENT_S,
                )

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self._av.InvalidDataError:
            # The packet is damaged, or it precedes the first keyframe.
            return []

    def close(self) -> None:
        """End the RTSP session."""
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
    def _told(self, *, opening: bool) -> Iterator[None]:
        limit_s = _OPEN_S if opening else _SILENT_S
        code = "rtsp-open-failed" if opening else "rtsp-connection-lost"
        began_s = time.monotonic()
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            # After a timeout, FFmpeg may report an unrelated error of the interrupted code.
            # Therefore, the elapsed time is also checked.
            if isinstance(error, self._av.ExitError) or time.monotonic() - began_s >= limit_s:
                reason = f"no answer for {limit_s:g} seconds"
                code = "rtsp-open-timeout" if opening else "rtsp-read-timeout"
            elif opening and error.errno == errno.EIO:
                # If the host name cannot be resolved, FFmpeg reports this error.
                reason = f"{reason}; check that the host name can be resolved"
                code = "rtsp-host-unresolved"
            failed = (
                f"{self._address} cannot be opened"
                if opening
                else f"connection to {self._address} lost"
            )
            raise StreamError(
                f"{failed}: {reason}",
                code=code,
                address=str(self._address),
                reason=reason,
                timeout_s=limit_s,
            ) from error

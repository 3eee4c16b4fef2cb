"""RTSP streams, read by FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.live.address import LiveAddress
from mggr_edge.streams.colour import ColourConverter, colour_of
from mggr_edge.streams.pyav import import_pyav

_OPEN_S, _SILENT_S = 10.0, 5.0
"""How long a server may take to answer, and to send a frame."""

_OPTIONS = {
    # A packet that UDP loses is a torn picture.
    "rtsp_transport": "tcp",
    # What came while the stream was looked at is the past, and looking is over soon.
    "fflags": "nobuffer",
    "analyzeduration": "500000",
    "flags": "low_delay",
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
        videos = self._container.streams.video
        if not videos:
            self.close()
            raise StreamError(f"{address} has no video")
        self._frames = self._container.decode(videos[0])
        self._converter: ColourConverter | None = None

    def read(self) -> NDArray[np.uint8] | None:
        """The next whole frame; see `Capture`."""
        with self._told("is lost"):
            for frame in self._frames:
                if not frame.is_corrupt:
                    return self._rgb(frame)
        return None

    def close(self) -> None:
        """Ends the session."""
        self._container.close()

    def _rgb(self, frame: Any) -> NDArray[np.uint8]:
        if self._converter is None:
            codec = self._container.streams.video[0].codec_context
            self._converter = ColourConverter(colour_of(frame, codec))
        return self._converter.rgb_from_frame(frame)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._av.ExitError as error:
            limit_s = _OPEN_S if what == "cannot be opened" else _SILENT_S
            raise StreamError(
                f"{self._address} {what}: no answer for {limit_s:g} seconds"
            ) from error
        except (self._av.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise StreamError(f"{self._address} {what}: {reason}") from error

"""H.264 clips made from nothing: what any browser plays, even out of a web page's own text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.atomic import atomic_file
from mggr_edge.media.files.colour import ColourConverter, VideoColour, tag_encoder
from mggr_edge.media.files.pyav import file_url, import_pyav, stream_errors
from mggr_edge.media.files.written import Expected, read_back

SHARP_CRF = 15
"""Of what is processed further."""

SMALL_CRF = 23
"""Of what a report carries in its text."""

_BT709, _SWSCALE_BT709 = 1, 1
_COLOUR = VideoColour(
    matrix=_SWSCALE_BT709,
    is_full_range=False,
    matrix_tag=_BT709,
    primaries_tag=_BT709,
    transfer_tag=_BT709,
)

WriteFrame = Callable[[NDArray[np.uint8]], None]


@contextmanager
def clip_writer(
    path: Path,
    *,
    size: tuple[int, int],
    rate: Fraction,
    crf: int = SHARP_CRF,
    comment: str | None = None,
) -> Iterator[WriteFrame]:
    """Gives a function that takes frame after frame; the file appears at the end, whole.

    Its index stands in front, so that a browser can start before it has all of it.

    Args:
        path: an `.mp4`; one that exists is replaced.
        size: (height, width), both even.
        rate: frames per second.
        crf: x264's quality, smaller is better.
        comment: written into the file.

    Raises:
        StreamError: it cannot be written.
    """
    height, width = size
    with (
        atomic_file(path, force=True) as temporary,
        _written(temporary, path) as (container, expected),
    ):
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        tag_encoder(stream.codec_context, _COLOUR)
        writer = _FrameWriter(container, stream, size, expected)
        yield writer.write
        writer.finish()


@contextmanager
def _written(temporary: Path, path: Path) -> Iterator[tuple[Any, Expected]]:
    expected, options = Expected(), {"movflags": "faststart"}
    with (
        stream_errors(path, "written"),
        import_pyav().open(file_url(temporary), "w", options=options) as container,
    ):
        yield container, expected
    with read_back(temporary, expected, path=path):
        pass


class _FrameWriter:
    def __init__(
        self, container: Any, stream: Any, size: tuple[int, int], expected: Expected
    ) -> None:
        self._container, self._stream, self._shape = container, stream, (*size, 3)
        self._expected = expected
        self._converter = ColourConverter(_COLOUR)
        self._count = 0

    def write(self, rgb: NDArray[np.uint8]) -> None:
        if rgb.shape != self._shape or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._shape}, got {rgb.dtype} {rgb.shape}")
        frame = self._converter.frame_from_rgb(rgb)
        frame.pts, frame.time_base = self._count, 1 / Fraction(self._stream.codec_context.framerate)
        self._count += 1
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._mux(self._stream.encode())

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            self._expected.note(packet, self._stream)
            self._container.mux(packet)

"""PyAV, imported where it is needed, its errors, and filters of frames.

An interlaced frame holds two moments, one in its odd and one in its even rows. A face that moves is
combed then, which landmarks and gaze models never saw, and browsers show the combs. FFmpeg's
`bwdif` replaces the second moment's rows by an estimate of the first moment.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError


def import_pyav() -> ModuleType:
    """Imports PyAV.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackageError("PyAV, which reads and writes videos,", "edge") from error
    return av


def file_url(path: Path) -> str:
    """Returns FFmpeg's address of a file; without it, FFmpeg reads `a:b.mp4` as a protocol `a`."""
    return f"file:{path}"


@contextmanager
def closed_for_good(container: Any) -> Iterator[Any]:
    """Closes a container that was read, and gives its memory back at once.

    A container and its streams hold each other, and with them a picture or two: that is a megabyte
    for each camera that comes back, which nobody else collects, as there are so few objects.
    """
    try:
        with container:
            yield container
    finally:
        del container
        gc.collect()


@contextmanager
def stream_errors(path: Path, action: str) -> Iterator[None]:
    """Turns what FFmpeg has against a file into a `StreamError` that names the file.

    Args:
        path: the file as the user knows it.
        action: "read" or "written".
    """
    try:
        yield
    except import_pyav().FFmpegError as error:
        raise StreamError(f"{path} cannot be {action}: {_reason(error)}") from error


def _reason(error: Any) -> str:
    return error.strerror or type(error).__name__


class Deinterlacer:
    """Passes frames through until the first interlaced one; then all go through the filter.

    The filter changes only frames that are flagged as interlaced, and holds one frame back.

    Attributes:
        has_worked: whether a frame was interlaced.

    Args:
        time_base: seconds per tick of the frames' times.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.has_worked = False
        self._time_base = time_base
        self._graph: Any = None
        self._form: tuple[int, int, str] | None = None

    def frames(self, frame: Any) -> Iterator[Any]:
        """Yields progressive frames in order; None as input drains the filter."""
        if frame is None:
            yield from self._filtered(None)
            return
        self.has_worked = self.has_worked or frame.interlaced_frame
        if not self.has_worked:
            yield frame
            return
        form = (frame.width, frame.height, frame.format.name)
        if form != self._form:
            yield from self._filtered(None)
            self._graph, self._form = self._new_graph(frame), form
        yield from self._filtered(frame)

    def _new_graph(self, frame: Any) -> Any:
        graph = import_pyav().filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format.name,
            time_base=self._time_base,
        )
        bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _filtered(self, frame: Any) -> Iterator[Any]:
        if self._graph is None:
            return
        av = import_pyav()
        self._graph.push(frame)
        with suppress(av.BlockingIOError, av.EOFError):  # FFmpeg's signs for "no more yet"
            while True:
                done = self._graph.pull()
                if done.pts is not None:  # the filter counts in halves of a tick
                    done.pts = round(done.pts * done.time_base / self._time_base)
                    done.time_base = self._time_base
                yield done


Value = TypeVar("Value", np.uint8, np.float32)


def fitted(rgb: NDArray[Value], size: tuple[int, int]) -> NDArray[Value]:
    """The whole frame, as large as it goes, in the middle of black.

    Args:
        rgb: [H, W, 3] uint8 or float32; black is 0.
        size: (height, width) of what comes out; a frame of that size is returned as it is.
    """
    height, width = rgb.shape[:2]
    if (height, width) == size:
        return rgb
    scale = min(size[0] / height, size[1] / width)
    inner_height, inner_width = max(1, round(scale * height)), max(1, round(scale * width))
    out = np.zeros((*size, 3), rgb.dtype)
    top, left = (size[0] - inner_height) // 2, (size[1] - inner_width) // 2
    out[top : top + inner_height, left : left + inner_width] = cv2.resize(
        rgb,
        (inner_width, inner_height),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    return out

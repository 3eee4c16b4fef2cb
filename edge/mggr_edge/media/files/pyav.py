"""Helpers for PyAV: import on demand, error conversion, deinterlacing and resizing of frames.

An interlaced frame contains two fields that were recorded at different times. One field has the odd
rows, and the other field has the even rows. If a face moves, its edges look like the teeth of a
comb. The landmark and gaze models were not trained on such edges. Browsers play a video without
deinterlacing. Therefore, FFmpeg's filter `bwdif` replaces the rows of the second field in the
output. The new rows are an estimate for the time of the first field.
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

_REPLACES_BYTES = 19
"""First version of PyAV that replaces bytes that are not UTF-8."""


def import_pyav() -> ModuleType:
    """Import PyAV.

    Raises:
        MissingPackageError: PyAV is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingPackageError("PyAV (reads and writes videos)", "edge") from error
    return av


def open_container(path: Path, **options: Any) -> Any:
    """Open a file for reading; bytes in its metadata that are not UTF-8 are replaced.

    PyAV 19 removed the argument `metadata_errors`, and always replaces such bytes.

    Args:
        path: path of the file.
        options: further arguments of `av.open`.
    """
    av = import_pyav()
    if int(av.__version__.split(".")[0]) < _REPLACES_BYTES:
        options["metadata_errors"] = "replace"
    return av.open(file_url(path), **options)


def file_url(path: Path) -> str:
    """Return the `file:` URL of a path.

    Without `file:`, FFmpeg would treat the name `a:b.mp4` as an address with the protocol `a`.
    """
    return f"file:{path}"


@contextmanager
def closed_for_good(container: Any) -> Iterator[Any]:
    """Close an input container and release its memory immediately.

    A container and its streams refer to each other, so they keep one or two frames in memory.
    These few objects do not trigger the automatic garbage collection. Therefore, this function
    starts the garbage collection. Otherwise, each reconnection to a camera would occupy another
    megabyte.
    """
    try:
        with container:
            yield container
    finally:
        del container
        gc.collect()


@contextmanager
def stream_errors(path: Path, action: str) -> Iterator[None]:
    """Convert FFmpeg errors to a `StreamError` that names the file.

    Args:
        path: path of the file, used in error messages.
        action: verb in the error message: "read" or "written".
    """
    try:
        yield
    except import_pyav().FFmpegError as error:
        reason = _reason(error)
        raise StreamError(
            f"{path} cannot be {action}: {reason}",
            code="video-unreadable" if action == "read" else "video-unwritable",
            path=path,
            reason=reason,
        ) from error


def _reason(error: Any) -> str:
    return error.strerror or type(error).__name__


class Deinterlacer:
    """Deinterlacing filter that starts with the first interlaced frame.

    Frames before the first interlaced frame are returned unchanged. All later frames pass through
    FFmpeg's filter. The filter changes only frames that are marked as interlaced. The filter
    returns a frame after it has received the next frame.

    Attributes:
        has_worked: whether any frame so far was interlaced.

    Args:
        time_base: duration of a tick of the frame times, in seconds.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.has_worked = False
        self._time_base = time_base
        self._graph: Any = None
        self._form: tuple[int, int, str] | None = None

    def frames(self, frame: Any) -> Iterator[Any]:
        """Yield the frames that the filter has finished, in display order.

        Args:
            frame: next frame of the video. `None` marks the end of the video, so the filter
                returns all remaining frames.
        """
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
        with suppress(av.BlockingIOError, av.EOFError):  # no further output is available yet
            while True:
                done = self._graph.pull()
                if done.pts is not None:  # the time base of the filter is half a tick of the video
                    done.pts = round(done.pts * done.time_base / self._time_base)
                    done.time_base = self._time_base
                yield done


Value = TypeVar("Value", np.uint8, np.float32)


def fitted(rgb: NDArray[Value], size: tuple[int, int]) -> NDArray[Value]:
    """Resize a frame to fit into the given size, and centre the frame on a black background.

    The aspect ratio is kept.

    Args:
        rgb: frame, [H, W, 3] uint8 or float32. Black is 0.
        size: (height, width) of the result. A frame of that size is returned unchanged.
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

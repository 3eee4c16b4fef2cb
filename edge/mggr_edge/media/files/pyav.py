"""PyAV, imported where it is needed and nowhere else, and its errors in one line."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

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

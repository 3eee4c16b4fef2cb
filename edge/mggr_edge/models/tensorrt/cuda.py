"""The seam to CUDA's runtime library: memory on the GPU and one stream, by ctypes.

JetPack and CUDA bring `libcudart`; no Python package is needed. It has not run on hardware.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes.util import find_library
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import UsageError

_TO_DEVICE, _TO_HOST = 1, 2
_OUT_OF_MEMORY = 2


class Cuda:
    """Buffers and a stream, freed by `close()` or when this object is garbage-collected.

    Args:
        library: loaded `libcudart`; None looks for it.

    Raises:
        UsageError: it is missing, or cannot be loaded.
        RuntimeError: CUDA reports an error; so do all methods.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _load() if library is None else library
        self._buffers: list[ctypes.c_void_p] = []
        stream = ctypes.c_void_p()
        self._check("cudaStreamCreate", ctypes.byref(stream))
        self.stream = stream
        self._release = weakref.finalize(self, _release, self._library, self._buffers, stream)
        # At the end of the process the driver frees everything, and CUDA may be gone by then.
        self._release.atexit = False

    def allocate(self, size: int) -> ctypes.c_void_p:
        """Memory of so many bytes, freed with this object.

        Raises:
            ValueError: it is closed.
        """
        if not self._release.alive:
            raise ValueError("CUDA's memory is closed; open the engine again")
        pointer = ctypes.c_void_p()
        self._check("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._buffers.append(pointer)
        return pointer

    def upload(self, pointer: ctypes.c_void_p, array: NDArray[Any]) -> None:
        """Copies a contiguous array to the GPU, in the stream."""
        self._copy(pointer, array.ctypes.data_as(ctypes.c_void_p), array.nbytes, _TO_DEVICE)

    def download(self, array: NDArray[Any], pointer: ctypes.c_void_p) -> None:
        """Copies from the GPU into a contiguous array, in the stream."""
        self._copy(array.ctypes.data_as(ctypes.c_void_p), pointer, array.nbytes, _TO_HOST)

    def wait(self) -> None:
        """Until everything in the stream is done."""
        self._check("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Frees all buffers and the stream; harmless when repeated."""
        self._release()

    def _copy(
        self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: int, direction: int
    ) -> None:
        self._check("cudaMemcpyAsync", to, source, ctypes.c_size_t(size), direction, self.stream)

    def _check(self, function: str, *arguments: Any) -> None:
        _raise_error(function, getattr(self._library, function)(*arguments))


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array as CUDA copies it."""
    return np.ascontiguousarray(array, dtype)


def _release(library: Any, buffers: list[ctypes.c_void_p], stream: ctypes.c_void_p) -> None:
    """Frees everything before the first error is raised."""
    codes = [("cudaFree", library.cudaFree(buffers.pop())) for _ in range(len(buffers))]
    codes.append(("cudaStreamDestroy", library.cudaStreamDestroy(stream)))
    for function, code in codes:
        _raise_error(function, code)


def _raise_error(function: str, code: int) -> None:
    if code != 0:
        reason = " (out of GPU memory)" if code == _OUT_OF_MEMORY else ""
        raise RuntimeError(f"{function} failed with CUDA error {code}{reason}")


def _load() -> Any:
    name = find_library("cudart")
    if name is None:
        raise UsageError(
            "CUDA's runtime library, libcudart, is not found; JetPack and CUDA bring it"
        )
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise UsageError(f"CUDA's runtime library {name} cannot be loaded: {error}") from error

"""Run TensorRT engines with inputs and outputs in CUDA memory.

CUDA is called through `libcudart`, which JetPack and CUDA install. No Python package for CUDA is
needed. The code follows the published documentation of TensorRT 8.5 to 11. The code was never run
on hardware.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Mapping
from ctypes.util import find_library
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import EngineError, UsageError
from mggr_edge.models.contract import TensorSpec
from mggr_edge.models.runtimes.runner import Kind, check_inputs, closed_model

_TO_DEVICE, _TO_HOST = 1, 2
_OUT_OF_MEMORY = 2


class Cuda:
    """CUDA buffers and a stream; `close()` or garbage collection of this object frees them.

    If CUDA reports an error, all methods raise RuntimeError.

    Args:
        library: the loaded `libcudart`. With `None`, the library is found and loaded.

    Raises:
        UsageError: `libcudart` is missing or cannot be loaded.
        RuntimeError: CUDA reports an error.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _load() if library is None else library
        self._buffers: list[ctypes.c_void_p] = []
        stream = ctypes.c_void_p()
        self._check("cudaStreamCreate", ctypes.byref(stream))
        self.stream = stream
        self._release = weakref.finalize(self, _release, self._library, self._buffers, stream)
        # Do not free GPU memory when Python exits. The driver frees all memory when the process
        # ends, and CUDA may already be unloaded when Python runs its exit handlers.
        self._release.atexit = False

    def allocate(self, size: int) -> ctypes.c_void_p:
        """Allocate `size` bytes of GPU memory; they are freed when this object is freed.

        Raises:
            ValueError: this object is closed.
        """
        if not self._release.alive:
            raise ValueError("CUDA's memory is closed; open the engine again")
        pointer = ctypes.c_void_p()
        self._check("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._buffers.append(pointer)
        return pointer

    def upload(self, pointer: ctypes.c_void_p, array: NDArray[Any]) -> None:
        """Copy a contiguous array to GPU memory; the copy runs asynchronously in the stream."""
        self._copy(pointer, array.ctypes.data_as(ctypes.c_void_p), array.nbytes, _TO_DEVICE)

    def download(self, array: NDArray[Any], pointer: ctypes.c_void_p) -> None:
        """Copy GPU memory to a contiguous array; the copy runs asynchronously in the stream."""
        self._copy(array.ctypes.data_as(ctypes.c_void_p), pointer, array.nbytes, _TO_HOST)

    def wait(self) -> None:
        """Block until all operations in the stream are complete."""
        self._check("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Free all buffers and the stream; if called again, nothing happens."""
        self._release()

    def _copy(
        self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: int, direction: int
    ) -> None:
        self._check("cudaMemcpyAsync", to, source, ctypes.c_size_t(size), direction, self.stream)

    def _check(self, function: str, *arguments: Any) -> None:
        _raise_error(function, getattr(self._library, function)(*arguments))


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array as a contiguous array of this dtype, as `Cuda.upload` requires."""
    return np.ascontiguousarray(array, dtype)


def _release(library: Any, buffers: list[ctypes.c_void_p], stream: ctypes.c_void_p) -> None:
    """Free all buffers and the stream. If an error occurred, then raise the first error."""
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
            "CUDA's runtime library, libcudart, is not found; install CUDA or JetPack",
            code="cuda-not-found",
            library="libcudart",
        )
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise UsageError(
            f"CUDA's runtime library {name} cannot be loaded: {error}",
            code="cuda-not-loadable",
            library=name,
            reason=str(error),
        ) from error


class TensorRTRunner:
    """A `Runner` that runs a TensorRT engine.

    An execution context cannot run two calls at the same time. A lock makes the second call wait.

    Args:
        engine: the bytes of an engine that `engines.build_engines` built on this machine.
        module: TensorRT's Python package.
        cuda: the CUDA memory and stream of this runner. No other runner may use them. The runner
            closes them, even if the constructor raises an error.

    Raises:
        EngineError: this TensorRT version cannot load the engine, or there is not enough GPU
            memory.
        RuntimeError: CUDA reports an error.
    """

    def __init__(self, engine: bytes, module: ModuleType, cuda: Cuda) -> None:
        # `close` releases these objects in this order. TensorRT requires that an execution context
        # is released before its engine, and an engine before its runtime.
        self._context: Any = None
        self._engine: Any = None
        self._runtime: Any = None
        self._cuda = cuda
        self._lock = threading.Lock()
        try:
            self._open(engine, module)
        except BaseException:
            self.close()
            raise

    def _open(self, engine: bytes, module: ModuleType) -> None:
        trt: Any = module
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise EngineError(
                "TensorRT cannot load the engine (another TensorRT version built it, or there is "
                "not enough memory): run build-engine again",
                code="engine-not-loadable",
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                "TensorRT cannot prepare the engine for execution: not enough GPU memory",
                code="gpu-memory-too-small",
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        specs = {name: self._spec(trt, name) for name in sorted(names)}
        inputs = {n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT}
        self._inputs = tuple(spec for name, spec in specs.items() if name in inputs)
        self._outputs = tuple(spec for name, spec in specs.items() if name not in inputs)
        self._buffers = {name: self._cuda.allocate(_bytes(spec)) for name, spec in specs.items()}
        for name, pointer in self._buffers.items():
            self._context.set_tensor_address(name, pointer.value)

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        check_inputs(inputs, self._inputs)
        # Keep these arrays until all operations in the stream are complete. The copies are
        # asynchronous.
        sent = {s.name: contiguous(inputs[s.name], np.dtype(s.dtype)) for s in self._inputs}
        with self._lock:
            if self._context is None:
                raise closed_model()
            for name, array in sent.items():
                self._cuda.upload(self._buffers[name], array)
            if not self._context.execute_async_v3(self._cuda.stream.value or 0):
                raise RuntimeError(
                    "TensorRT did not run the engine; TensorRT printed the reason above"
                )
            made = {spec.name: np.empty(spec.shape, spec.dtype) for spec in self._outputs}
            for name, array in made.items():
                self._cuda.download(array, self._buffers[name])
            self._cuda.wait()
        return made

    def close(self) -> None:
        """Free the engine and its GPU memory; see `FileRunner.close`."""
        with self._lock:
            self._context = None
            self._engine = None
            self._runtime = None
            self._cuda.close()

    def tensor_specs(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """Return the specs of the engine's inputs or outputs, sorted by name."""
        return self._inputs if kind == "inputs" else self._outputs

    def _spec(self, trt: Any, name: str) -> TensorSpec:
        dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        shape = tuple(int(size) for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, shape, dtype.name)


def _bytes(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize

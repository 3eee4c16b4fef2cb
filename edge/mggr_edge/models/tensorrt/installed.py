"""Find and load the TensorRT engine of a model if an engine was built on this machine.

An engine is a model that TensorRT compiled for one GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from mggr_edge.errors import EngineError, MggrError, UsageError
from mggr_edge.models.contract import Artifact
from mggr_edge.models.runtimes.runner import FileRunner, check_fits
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt.cache import (
    EngineKey,
    built_elsewhere,
    cache_folder,
    engine_path,
    has_engines,
    keys_in,
    load,
)
from mggr_edge.models.tensorrt.engines import gpu_name, key_of
from mggr_edge.models.tensorrt.runner import Cuda

_PLACES: tuple[int | None, ...] = (None, 0, 1)
"""Values of `dla` in order of preference: first the GPU, then the accelerators of a Jetson."""

_UNUSABLE = (MggrError, RuntimeError, OSError, MemoryError)
"""Errors after which the next runtime is used instead of the engine.

The engine may be outdated, damaged or unreadable. CUDA or TensorRT may report an error. There may
be too little memory.
"""


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the cache that was built for this machine but is not loaded yet.

    Attributes:
        artifact: ONNX file from which the engine was built.
        key: cache key of the engine.
        folder: cache folder.
        module: TensorRT's Python package.
    """

    artifact: Artifact
    key: EngineKey
    folder: Path
    module: ModuleType

    def open(self) -> FileRunner:
        """Load the engine, and run it once on zeros, so that any error is raised now.

        Raises:
            EngineError: the engine is damaged, cannot be loaded or run, or has other tensors than
                its ONNX file. The error is also raised if CUDA fails. All memory of the engine is
                released.
        """
        from mggr_edge.models.tensorrt.runner import TensorRTRunner

        try:
            content = load(self.folder, self.key)
            if content is None:
                path = engine_path(self.folder, self.key)
                raise EngineError(f"{path} was removed", code="engine-removed", path=path)
            runner = TensorRTRunner(content, self.module, Cuda())
            try:
                check_fits(runner, self.artifact)
                specs = runner.tensor_specs("inputs")
                runner({one.name: np.zeros(one.shape, one.dtype) for one in specs})
            except BaseException:
                runner.close()
                raise
        except _UNUSABLE as error:
            raise _engine_error(error) from error
        return runner


def _engine_error(error: Exception) -> EngineError:
    """Return an `EngineError` with the message, code and fields of another error."""
    reason = f"{error}" or type(error).__name__
    if isinstance(error, MggrError):
        return EngineError(reason, code=error.code, **error.fields)
    return EngineError(reason, code="engine-not-runnable", reason=reason)


def find_engine(formats: Sequence[Artifact]) -> BuiltEngine | None:
    """Return the engine of a model without loading it; return `None` if there is no engine.

    Args:
        formats: the model's artifacts. The first ONNX file that has an engine for this machine is
            used.

    Raises:
        EngineError: engines of this model exist, but they were built for another TensorRT version
            or GPU. The error is also raised if TensorRT cannot be imported.
    """
    files, folder = [one for one in formats if one.format == "onnx"], cache_folder()
    if not files or folder is None or not has_engines(folder):
        return None
    module = _tensorrt(folder, files)
    if module is None:
        return None
    version, gpu = tensorrt_api.version_of(module), gpu_name()
    keys = [(one, key_of(one, version, gpu, dla=dla)) for one in files for dla in _PLACES]
    for artifact, key in keys:
        if engine_path(folder, key).is_file():
            return BuiltEngine(artifact, key, folder, module)
    for _, key in keys:
        if built_elsewhere(folder, key) is not None:
            load(folder, key)  # Raises an EngineError with the reason.
    return None


def engine_of(formats: Sequence[Artifact], *, bundle: str = "BUNDLE") -> FileRunner | None:
    """Load the engine of a model; return `None` if no engine can be used.

    If an engine exists but cannot be used, a warning is logged once per process. The warning
    contains the command that builds the engine again. The caller then uses the next runtime.
    Therefore a TensorRT update does not stop a service.

    Args:
        formats: the model's artifacts.
        bundle: the name or path of the bundle, for the log message.
    """
    found = None
    try:
        found = find_engine(formats)
        return None if found is None else found.open()
    except _UNUSABLE as error:
        _log_unusable(formats, found, f"{error}", bundle)
        return None


def usable_engine(formats: Sequence[Artifact], *, bundle: str = "BUNDLE") -> BuiltEngine | None:
    """Return the engine of a model without loading it, or `None` if no engine can be used.

    A warning is logged as in `engine_of`. A later attempt to load the engine may still fail.
    """
    try:
        return find_engine(formats)
    except _UNUSABLE as error:
        _log_unusable(formats, None, f"{error}", bundle)
        return None


def _tensorrt(folder: Path, files: Sequence[Artifact]) -> ModuleType | None:
    """Return TensorRT's Python package.

    If the package is missing and the cache has no engine of these files, the result is `None`.

    Raises:
        EngineError: the cache has an engine of one of these files, but the package is missing or
            cannot be imported.
    """
    try:
        module = tensorrt_api.find()
        missing = EngineError(
            "TensorRT's Python package is not installed for this Python",
            code="tensorrt-not-installed",
        )
    except UsageError as error:
        module, missing = None, _engine_error(error)
    if module is None and _keys_of(folder, files):
        raise missing
    return module


def _log_unusable(
    formats: Sequence[Artifact], found: BuiltEngine | None, reason: str, bundle: str
) -> None:
    files = [one for one in formats if one.format == "onnx"]
    folder = cache_folder()
    built = [] if folder is None else _keys_of(folder, files)
    key = found.key if found is not None else next(iter(built), None)
    _warn_once(
        f"the TensorRT engine of {' or '.join(one.file for one in files)} is not used: {reason}. "
        "Another runtime is used instead. To use TensorRT, run: "
        f"{key.build_command(bundle) if key is not None else f'mggr-edge build-engine {bundle}'}"
    )


def _keys_of(folder: Path, files: Sequence[Artifact]) -> list[EngineKey]:
    """Return the keys of all engines that were built from these files for any machine."""
    shas = {one.sha256 for one in files}
    return [key for key in keys_in(folder) if key.model_sha256 in shas]


@lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning("%s", text)

"""Finds the engine of a model, where one was built here."""

from __future__ import annotations

from collections.abc import Sequence

from mggr_edge.contract import Artifact
from mggr_edge.engines import tensorrt_api
from mggr_edge.engines.build import gpu_name, key_of
from mggr_edge.engines.cache import cache_folder, load
from mggr_edge.engines.cuda import Cuda
from mggr_edge.interpreters.runner import FileRunner, check_fits

_PLACES: tuple[int | None, ...] = (None, 0, 1)
"""The GPU, then the accelerators that a Jetson may have."""


def engine_of(formats: Sequence[Artifact]) -> FileRunner | None:
    """The engine of the first of a model's ONNX files that one was built of; None without any.

    Raises:
        BundleError: it was built for another TensorRT or GPU, is damaged, or has other tensors
            than its file.
        UsageError: CUDA's runtime library is missing.
    """
    module, folder = tensorrt_api.find(), cache_folder()
    if module is None or folder is None:
        return None
    version, gpu = tensorrt_api.version_of(module), gpu_name()
    for artifact in formats:
        for dla in _PLACES if artifact.format == "onnx" else ():
            engine = load(folder, key_of(artifact, version, gpu, dla=dla))
            if engine is not None:
                from mggr_edge.interpreters.tensorrt import TensorRTRunner

                runner = TensorRTRunner(engine, module, Cuda())
                check_fits(runner, artifact)
                return runner
    return None

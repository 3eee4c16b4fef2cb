"""Build TensorRT engines from the ONNX files of a bundle, and calculate their cache keys.

An engine is a model that TensorRT compiled for one GPU.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mggr_edge.common.atomic import atomic_file
from mggr_edge.common.folders import NO_HOME
from mggr_edge.errors import BundleError, UsageError
from mggr_edge.models.contract import Artifact, Contract
from mggr_edge.models.tensorrt import python_builder as tensorrt_api
from mggr_edge.models.tensorrt import trtexec_builder as trtexec
from mggr_edge.models.tensorrt.build_options import EnginePrecision, Recipe, dotted, recipe_for
from mggr_edge.models.tensorrt.cache import EngineKey, cache_folder, store

_JETSON_MODEL = Path("/proc/device-tree/model")
_TIMING = "timing-{}.cache"
_PATIENCE_S = 20.0
"""Timeout of `nvidia-smi` in seconds.

A driver without persistence mode takes several seconds to load. A driver that hangs never responds.
"""


@dataclass(frozen=True)
class Builder:
    """The TensorRT installation of this machine.

    Attributes:
        version: version of TensorRT.
        gpu: name of the GPU for which the engines are built.
        build: function (ONNX file, recipe, timing cache) -> (engine, updated timing cache). The
            timing cache contains measurements that make later builds faster.
    """

    version: tuple[int, ...]
    gpu: str
    build: Callable[[bytes, Recipe, bytes], tuple[bytes, bytes]]


def find_builder() -> Builder:
    """Return a builder that uses TensorRT's Python package or, if it is missing, `trtexec`.

    Raises:
        UsageError: neither the package nor `trtexec` is installed.
    """
    if (module := tensorrt_api.find()) is not None:
        version = tensorrt_api.version_of(module)
        return Builder(version, gpu_name(), lambda *what: tensorrt_api.build(module, *what))
    if (program := trtexec.find()) is not None:
        version = trtexec.version_of(program)
        return Builder(version, gpu_name(), lambda *what: trtexec.build(program, *what))
    raise UsageError(
        "neither TensorRT's Python package nor trtexec is installed; JetPack installs both (a venv "
        "needs --system-site-packages)",
        code="tensorrt-not-installed",
    )


def build_engines(
    contract: Contract,
    files: Mapping[str, bytes],
    *,
    builder: Builder,
    precision: EnginePrecision,
    dla: int | None = None,
    folder: Path | None = None,
    notify: Callable[[str], None],
) -> tuple[Path, ...]:
    """Build an engine for every model that has an ONNX file of this precision in the bundle.

    Args:
        contract: the contract of the bundle.
        files: the bytes of the bundle's files by name.
        builder: the TensorRT installation.
        precision: the precision of the ONNX files from which the engines are built.
        dla: the number of the deep learning accelerator for which to build. With `None`, the
            engines are built for the GPU.
        folder: the cache folder. With `None`, the user's cache is used.
        notify: callback that receives a message before each model is built.

    Returns:
        The paths of the engines.

    Raises:
        BundleError: the bundle has no ONNX file of this precision, or TensorRT fails.
        UsageError: this TensorRT version does not support the precision or the accelerator, or
            there is no home folder for the cache.
    """
    chosen = onnx_files(contract, precision)
    if not chosen:
        raise BundleError(
            f"the bundle has no {precision} ONNX file; create one with: mggr-tf export "
            f"{_OPTION[precision]}--formats tflite,onnx",
            code="bundle-without-onnx",
            precision=precision,
        )
    recipe = recipe_for(precision, version=builder.version, dla=dla)
    home = cache_folder() if folder is None else folder
    if home is None:
        raise UsageError(
            f"engines cannot be stored because {NO_HOME}; set HOME or XDG_CACHE_HOME",
            code="no-home-folder",
        )
    home.mkdir(parents=True, exist_ok=True)
    timing_file = home / _TIMING.format(dotted(builder.version))
    made = []
    for name, artifact in chosen.items():
        notify(f"building {name} ({precision}) for TensorRT {dotted(builder.version)}")
        timing = timing_file.read_bytes() if timing_file.is_file() else b""
        engine, timing = builder.build(files[artifact.file], recipe, timing)
        if timing:
            with atomic_file(timing_file, force=True) as temporary:
                temporary.write_bytes(timing)
        made.append(store(home, key_of(artifact, builder.version, builder.gpu, dla=dla), engine))
    return tuple(made)


def onnx_files(contract: Contract, precision: EnginePrecision) -> dict[str, Artifact]:
    """Return the ONNX files of this precision: model name -> artifact."""
    return {
        name: artifact
        for name, formats in contract.models.items()
        for artifact in formats
        if artifact.format == "onnx" and artifact.precision == precision
    }


def key_of(
    artifact: Artifact, version: Sequence[int], gpu: str, *, dla: int | None = None
) -> EngineKey:
    """Return the cache key of the engine that is built from this ONNX file."""
    return EngineKey(dotted(tuple(version)), gpu, artifact.precision, artifact.sha256, dla)


@lru_cache(maxsize=1)
def gpu_name() -> str:
    """Return the name of the Jetson module, or of the first GPU that `nvidia-smi` lists.

    The result is stored for the lifetime of the process. If no name is found, the result is "an
    unknown GPU". If `nvidia-smi` exceeds the timeout, a warning is logged.
    """
    try:
        return _JETSON_MODEL.read_bytes().rstrip(b"\0").decode().strip()
    except OSError:
        pass
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        named = subprocess.run(
            query, capture_output=True, text=True, check=True, timeout=_PATIENCE_S
        ).stdout
    except subprocess.TimeoutExpired:
        logging.getLogger(__name__).warning(
            "nvidia-smi did not answer within %g seconds: the GPU's name is unknown, and engines "
            "that were built for a named GPU are not used. Restart the driver or the machine.",
            _PATIENCE_S,
        )
        named = ""
    except (OSError, subprocess.CalledProcessError):
        named = ""
    return named.strip().splitlines()[0] if named.strip() else "an unknown GPU"


_OPTION = {"float32": "", "float16": "--fp16 ", "int8": "--int8 "}

"""Build engines with TensorRT's Python API.

The code follows the published documentation of TensorRT 8.5 to 11. The code was never run on
hardware.
"""

from __future__ import annotations

from importlib import import_module, util
from types import ModuleType
from typing import Any

from mggr_edge.errors import BundleError, UsageError
from mggr_edge.models.tensorrt.build_options import Recipe, parse_version

NAME = "tensorrt"


def find() -> ModuleType | None:
    """Import TensorRT's Python package and return it; return `None` if it is not installed.

    Raises:
        UsageError: the package is installed but cannot be imported, for example because its
            libraries are missing.
    """
    spec = util.find_spec(NAME)
    # If a folder is named `tensorrt`, `find_spec` finds this folder as a namespace package. A
    # namespace package has no origin.
    if spec is None or spec.origin is None:
        return None
    try:
        return import_module(NAME)
    except (ImportError, OSError) as error:
        raise UsageError(
            f"TensorRT's Python package cannot be imported: {error}; install the TensorRT of "
            "JetPack or CUDA",
            code="tensorrt-not-importable",
            reason=str(error),
        ) from error


def version_of(module: ModuleType) -> tuple[int, ...]:
    """Return the version of TensorRT's Python package."""
    return parse_version(module.__version__)


def build(module: ModuleType, onnx: bytes, recipe: Recipe, timing: bytes) -> tuple[bytes, bytes]:
    """Build an engine.

    Args:
        module: TensorRT's Python package.
        onnx: the content of the ONNX file.
        recipe: the build options.
        timing: the timing cache of previous builds, possibly empty.

    Returns:
        (engine, updated timing cache).

    Raises:
        BundleError: TensorRT cannot parse the file or cannot build an engine. The message contains
            the errors of TensorRT's parser. For build errors, the message refers to the text that
            TensorRT printed.
    """
    trt: Any = module
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, recipe))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise BundleError(
            f"TensorRT cannot read the model: {reasons}",
            code="tensorrt-cannot-read-model",
            reason=reasons,
        )
    config = builder.create_builder_config()
    for flag in recipe.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if recipe.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = recipe.dla
    config.set_timing_cache(config.create_timing_cache(timing), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BundleError(
            "TensorRT did not build an engine; TensorRT printed the reason above",
            code="engine-not-built",
        )
    return bytes(engine), bytes(config.get_timing_cache().serialize())


def _network_flags(trt: Any, recipe: Recipe) -> int:
    known = trt.NetworkDefinitionCreationFlag
    # Newer versions of TensorRT deprecate these flags, and later versions remove them. In a version
    # without the flag, the behaviour of the flag is the default.
    name = "STRONGLY_TYPED" if recipe.strongly_typed else "EXPLICIT_BATCH"
    return 1 << int(getattr(known, name)) if hasattr(known, name) else 0

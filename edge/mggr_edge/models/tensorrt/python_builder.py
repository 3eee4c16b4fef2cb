"""The seam to TensorRT's Python API: the only file that calls it.

Written against the published documentation of 8.5 to 11; it has not run on hardware.
"""

from __future__ import annotations

from importlib import import_module, util
from types import ModuleType
from typing import Any

from mggr_edge.errors import BundleError, UsageError
from mggr_edge.models.tensorrt.build_options import Recipe, parse_version

NAME = "tensorrt"


def find() -> ModuleType | None:
    """The module; None if it is not installed.

    Raises:
        UsageError: it is installed and cannot be imported, as without its libraries.
    """
    spec = util.find_spec(NAME)
    if spec is None or spec.origin is None:  # A folder of that name is no package of TensorRT.
        return None
    try:
        return import_module(NAME)
    except (ImportError, OSError) as error:
        raise UsageError(
            f"TensorRT's Python package cannot be imported: {error}; install the TensorRT that "
            "JetPack or CUDA brings"
        ) from error


def version_of(module: ModuleType) -> tuple[int, ...]:
    """Its version."""
    return parse_version(module.__version__)


def build(module: ModuleType, onnx: bytes, recipe: Recipe, timing: bytes) -> tuple[bytes, bytes]:
    """Builds an engine.

    Args:
        module: TensorRT.
        onnx: the model's file.
        recipe: what to ask for.
        timing: what former builds measured; may be empty.

    Returns:
        the engine, and what is now known of timings.

    Raises:
        BundleError: the file cannot be read, or no engine could be built; with TensorRT's own
            reasons.
    """
    trt: Any = module
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, recipe))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise BundleError(f"TensorRT cannot read the model: {reasons}")
    config = builder.create_builder_config()
    for flag in recipe.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if recipe.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = recipe.dla
    config.set_timing_cache(config.create_timing_cache(timing), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BundleError("TensorRT built no engine; what it printed above says why")
    return bytes(engine), bytes(config.get_timing_cache().serialize())


def _network_flags(trt: Any, recipe: Recipe) -> int:
    known = trt.NetworkDefinitionCreationFlag
    # Each version deprecates the other's flag, and where one is gone it is the rule.
    name = "STRONGLY_TYPED" if recipe.strongly_typed else "EXPLICIT_BATCH"
    return 1 << int(getattr(known, name)) if hasattr(known, name) else 0

"""Choose the TensorRT build options for a precision.

From version 10 on, strongly typed networks are used. Before version 10, precision flags are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mggr_edge.errors import UsageError

EnginePrecision = Literal["float32", "float16", "int8"]

OLDEST = (8, 5)
"""First TensorRT version that supports the operation GridSample."""

TYPED_BY_GRAPH = (10, 0)
"""First TensorRT version that can determine all precisions from the types in the graph."""

_FLAGS_GONE = (11, 0)


@dataclass(frozen=True)
class Recipe:
    """Build options of an engine.

    Attributes:
        strongly_typed: whether every tensor has the type that the graph defines. If true, precision
            flags are not used.
        flags: names of the builder flags, in order.
        dla: number of the deep learning accelerator (DLA). With `None`, the engine is
            built for the GPU.
    """

    strongly_typed: bool
    flags: tuple[str, ...]
    dla: int | None = None


def recipe_for(
    precision: EnginePrecision, *, version: tuple[int, ...], dla: int | None = None
) -> Recipe:
    """Return the build options with which TensorRT keeps the precision of an ONNX file.

    Q/DQ pairs or float16 weights in the ONNX file define its precision. From version 10 on, a
    strongly typed network uses these types. Before version 10, flags allow TensorRT to use these
    types. For int8, the float16 flag is also set. With this flag, layers without quantization run
    in float16. Without this flag, these layers would stay unfused, which is worse. For a deep
    learning accelerator (DLA), precision flags are used in every version that supports these flags,
    because strong typing supports only GPUs.

    Args:
        precision: the precision of the ONNX file.
        version: the version of TensorRT.
        dla: the number of the deep learning accelerator. With `None`, the engine is built for the
            GPU.

    Raises:
        UsageError: the TensorRT version lacks GridSample, or it cannot build for an accelerator.
            The error is also raised if the precision is float32 and `dla` is not `None`.
    """
    if version < OLDEST:
        raise UsageError(
            f"TensorRT {dotted(version)} does not support GridSample, which the redirector needs; "
            f"install {dotted(OLDEST)} or newer",
            code="tensorrt-too-old",
            found=dotted(version),
            expected=dotted(OLDEST),
        )
    if dla is not None and version >= _FLAGS_GONE:
        raise UsageError(
            f"TensorRT {dotted(version)} has no precision flags, which --dla needs; install a "
            f"version before {dotted(_FLAGS_GONE)}",
            code="tensorrt-too-new",
            found=dotted(version),
            expected=dotted(_FLAGS_GONE),
        )
    if dla is not None and precision == "float32":
        raise UsageError(
            "--dla needs float16 or int8: add --fp16 or --int8", code="dla-without-precision"
        )
    if version >= TYPED_BY_GRAPH and dla is None:
        return Recipe(strongly_typed=True, flags=())
    flags = {"float32": (), "float16": ("FP16",), "int8": ("FP16", "INT8")}[precision]
    return Recipe(False, (*flags, *(() if dla is None else ("GPU_FALLBACK",))), dla)


def parse_version(text: str) -> tuple[int, ...]:
    """Parse a version such as "10.3.0" or "8.6.1.6" into its numbers.

    Raises:
        ValueError: the text is not a version.
    """
    match = re.match(r"\d+(?:\.\d+)+", text)
    if match is None:
        raise ValueError(f"no version: {text!r}")
    return tuple(int(part) for part in match[0].split("."))


def dotted(version: tuple[int, ...]) -> str:
    """Return the version as text with dots, such as "10.3.0"."""
    return ".".join(str(part) for part in version)

"""How TensorRT gets a precision: by the graph's own types, or by flags before version 10."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mggr_edge.errors import UsageError

EnginePrecision = Literal["float32", "float16", "int8"]

OLDEST = (8, 5)
"""The first with GridSample."""

TYPED_BY_GRAPH = (10, 0)
"""The first that takes precisions from the graph alone."""

_FLAGS_GONE = (11, 0)


@dataclass(frozen=True)
class Recipe:
    """What a builder is asked for.

    Attributes:
        strongly_typed: every tensor's type is the graph's; no flag says otherwise.
        flags: names of builder flags, in order.
        dla: which deep learning accelerator; None builds for the GPU.
    """

    strongly_typed: bool
    flags: tuple[str, ...]
    dla: int | None = None


def recipe_for(
    precision: EnginePrecision, *, version: tuple[int, ...], dla: int | None = None
) -> Recipe:
    """What a TensorRT version must be asked for to keep a file's precision.

    Files carry their precision themselves: Q/DQ pairs, or float16 weights. From 10 on a strongly
    typed network takes it from there. Before, flags allow the types that the graph asks for;
    float16 stands beside int8, as what is not quantised is better halved than not fused. On a
    deep learning accelerator flags are asked for where there are any: strong typing is for GPUs.

    Raises:
        UsageError: a version that lacks GridSample, or that cannot build for an accelerator.
    """
    if version < OLDEST:
        raise UsageError(
            f"TensorRT {dotted(version)} has no GridSample, which the warp needs; it takes "
            f"{dotted(OLDEST)} or newer"
        )
    if dla is not None and version >= _FLAGS_GONE:
        raise UsageError(
            f"TensorRT {dotted(version)} has no precision flags, which --dla needs; it takes a "
            f"version before {dotted(_FLAGS_GONE)}"
        )
    if dla is not None and precision == "float32":
        raise UsageError("--dla computes in float16 or int8: add --fp16 or --int8")
    if version >= TYPED_BY_GRAPH and dla is None:
        return Recipe(strongly_typed=True, flags=())
    flags = {"float32": (), "float16": ("FP16",), "int8": ("FP16", "INT8")}[precision]
    return Recipe(False, (*flags, *(() if dla is None else ("GPU_FALLBACK",))), dla)


def parse_version(text: str) -> tuple[int, ...]:
    """Numbers of "10.3.0" or "8.6.1.6".

    Raises:
        ValueError: no version.
    """
    match = re.match(r"\d+(?:\.\d+)+", text)
    if match is None:
        raise ValueError(f"no version: {text!r}")
    return tuple(int(part) for part in match[0].split("."))


def dotted(version: tuple[int, ...]) -> str:
    """The version as people write it."""
    return ".".join(str(part) for part in version)

"""What networks compute in: half as many bits only where the machine knows them.

In a smaller precision a layer's weights stay float32; it computes with rounded copies of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import tensorflow as tf
from tensorflow import keras

Precision = Literal["float32", "bfloat16", "float16"]
OfFrozen = Literal["auto", "float32", "bfloat16"]

EXACT: Literal["float32"] = "float32"
"""What heads, and whatever is behind them, compute in whatever the layers before them do."""

_POLICIES = {EXACT: EXACT, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Linux's names of the x86 instructions that oneDNN computes bfloat16 with."""
_GPUS_SINCE = {"float16": (7, 0), "bfloat16": (8, 0)}
"""The compute capability from which on NVIDIA's GPUs multiply matrices in a precision."""


def settled(precision: OfFrozen) -> Literal["float32", "bfloat16"]:
    """What `auto` means here for frozen networks; anything else is what it says.

    `auto` is bfloat16 where Linux names instructions for it among the processor's and
    no GPU computes, and float32 elsewhere: emulated, bfloat16 makes a joint step of
    mggr-edge 2.1 times as long (914 against 435 ms on two cores with AVX-512 and without
    AVX512-BF16).
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return EXACT
    return "bfloat16" if _processor_knows_bfloat16() else EXACT


def missing_for(precision: Precision) -> str | None:
    """What this machine lacks to compute in it at least as fast as in float32; None: nothing."""
    if precision == EXACT:
        return None
    if gpus := tf.config.list_physical_devices("GPU"):
        since = _GPUS_SINCE[precision]
        weakest = min(map(_capability, gpus))
        if weakest >= since:
            return None
        here, asked = (".".join(map(str, version)) for version in (weakest, since))
        return f"a GPU of compute capability {asked} or more (here: {here})"
    if precision == "float16":
        return "a GPU of compute capability 7.0 or more (here: none)"
    if _processor_knows_bfloat16():
        return None
    return "a processor with AVX512-BF16 or AMX-BF16"


def processor_flags(cpuinfo: Path) -> frozenset[str]:
    """Instruction sets of the first processor; none where Linux does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


@contextmanager
def computing_in(precision: Precision | OfFrozen) -> Iterator[None]:
    """Layers made inside compute in this precision; their weights stay float32."""
    before = keras.mixed_precision.global_policy()
    named = settled(precision) if precision == "auto" else precision
    keras.mixed_precision.set_global_policy(_POLICIES[named])
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _processor_knows_bfloat16() -> bool:
    return bool(_BFLOAT16_FLAGS & processor_flags(_CPUINFO))


def _capability(gpu: tf.config.PhysicalDevice) -> tuple[int, int]:
    """(0, 0) where TensorFlow does not know it."""
    details = tf.config.experimental.get_device_details(gpu)
    major, minor = details.get("compute_capability", (0, 0))
    return major, minor

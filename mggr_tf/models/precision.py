"""What frozen networks compute in: half as many bits only where the processor knows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import tensorflow as tf
from tensorflow import keras

Precision = Literal["auto", "float32", "bfloat16"]

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Linux's names of the x86 instructions that oneDNN computes bfloat16 with."""


def settled(precision: Precision) -> Literal["float32", "bfloat16"]:
    """What `auto` means here; anything else is what it says.

    `auto` is bfloat16 where Linux names instructions for it among the processor's and
    no GPU computes, and float32 elsewhere: emulated, bfloat16 makes a joint step of
    mggr-edge 2.1 times as long (914 against 435 ms on two cores with AVX-512 and without
    AVX512-BF16).
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "float32"
    return "bfloat16" if _BFLOAT16_FLAGS & processor_flags(_CPUINFO) else "float32"


def processor_flags(cpuinfo: Path) -> frozenset[str]:
    """Instruction sets of the first processor; none where Linux does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Layers made inside compute in this precision; their weights stay float32."""
    before = keras.mixed_precision.global_policy()
    policy = "mixed_bfloat16" if settled(precision) == "bfloat16" else "float32"
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)

"""Numeric precision of layers.

In a lower precision, the weights of a layer stay float32. The layer computes with rounded copies of
the weights.
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
"""The precision of the output layers (heads) and of all layers after the heads. The layers before
the heads can have another precision."""

_POLICIES = {EXACT: EXACT, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""The names that Linux uses for the bfloat16 instructions of x86 processors. OneDNN needs one of
these instruction sets."""
_GPUS_SINCE = {"float16": (7, 0), "bfloat16": (8, 0)}
"""For each precision: the minimum compute capability of an NVIDIA GPU that multiplies matrices in
this precision."""


def settled(precision: OfFrozen) -> Literal["float32", "bfloat16"]:
    """Return the precision for frozen networks on this machine.

    Only `auto` is replaced. Any other precision is returned unchanged. `auto` is replaced by
    bfloat16 if there is no GPU and Linux reports that the processor has bfloat16 instructions.
    Otherwise, it is replaced by float32.

    The reason is that bfloat16 is slow if it is emulated. With emulated bfloat16, a training step
    of the joint stage of `mggr-edge` takes 914 ms. With float32, it takes 435 ms (2.1 times as
    fast). These times were measured on two cores with AVX-512 and without AVX512-BF16.
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return EXACT
    return "bfloat16" if _processor_knows_bfloat16() else EXACT


def missing_for(precision: Precision) -> str | None:
    """Describe the hardware that a precision needs and that this machine does not have.

    Without this hardware, the precision is slower than float32.

    Returns:
        the description. `None` if this machine has the hardware.
    """
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
    """Return the instruction sets of the first processor.

    If Linux does not report the instruction sets, the result is empty.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


@contextmanager
def computing_in(precision: Precision | OfFrozen) -> Iterator[None]:
    """Set the precision of layers that are created in this context.

    The weights of the layers stay float32.
    """
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
    """Return the compute capability of a GPU. If TensorFlow does not report it, return (0, 0)."""
    details = tf.config.experimental.get_device_details(gpu)
    major, minor = details.get("compute_capability", (0, 0))
    return major, minor

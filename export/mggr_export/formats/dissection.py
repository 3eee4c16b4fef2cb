"""An int8 file, in a form that shows what each layer loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mggr_edge.models.runtimes import FileRunner
from mggr_export.arrays import Arrays


@dataclass(frozen=True)
class Dissection:
    """An int8 file, its float twin, and variants of it.

    Attributes:
        quantised: the file.
        reference: the same graph, still float, with the same names.
        layers: names of the layers that multiply by weights, in order.
        spared: the file again with one layer left float, by that layer's name.
        runner: opens a file.
        outputs: what every layer gives in a file, [N, ...] and dequantised, by its name.
    """

    quantised: bytes
    reference: bytes
    layers: tuple[str, ...]
    spared: Callable[[str], bytes]
    runner: Callable[[bytes], FileRunner]
    outputs: Callable[[bytes, Arrays], Mapping[str, NDArray[np.float32]]]

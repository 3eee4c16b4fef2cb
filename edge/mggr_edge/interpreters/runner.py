"""What every backend offers: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from numpy.typing import NDArray


class Runner(Protocol):
    """A model, ready to run.

    Called with every input by name; returns every output by name. Arrays carry
    the batch dimension; the returned ones belong to the caller.
    """

    def __call__(self, inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]: ...

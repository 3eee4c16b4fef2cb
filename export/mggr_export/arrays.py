"""Type aliases for model inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
"""Arrays by input or output name, [N, ...] each."""

ModelInputs = dict[str, dict[str, NDArray[np.float32]]]
"""Inputs of every model: model name -> input name -> [N, ...]."""

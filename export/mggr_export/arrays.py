"""Type aliases for model inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
"""Arrays by input or output name. Each array has the shape [N, ...], for N examples."""

ModelInputs = dict[str, dict[str, NDArray[np.float32]]]
"""Inputs of several models, by model name.

Each value contains the inputs of one model, by input name.
"""

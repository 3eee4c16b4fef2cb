"""What goes into models and comes out of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]
"""Input or output name -> [N, ...]."""

ModelInputs = dict[str, dict[str, NDArray[np.float32]]]
"""The inputs of every model, by its name."""

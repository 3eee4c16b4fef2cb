"""State of one eye: how far its lids are open, how much of the iris shows, what covers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class EyeState:
    """Output `state` of the estimator, for one eye.

    Attributes:
        openness: greatest distance between the lids over the distance between the corners, in
            [0, 1]. About 0.25 to 0.4 for an open eye, 0 for a closed one.
        iris_visible: part of the iris disc between the lids, in [0, 1].
        occlusion: part of the area between the lids (of a closed eye: of the lids around it) that
            something else covers, in [0, 1]: fingers, hair, a frame, glare.
    """

    openness: float
    iris_visible: float
    occlusion: float

    @classmethod
    def from_array(cls, state: ArrayLike) -> EyeState:
        """From [3] in the order of the attributes; values outside [0, 1] are clipped."""
        openness, iris_visible, occlusion = np.clip(np.asarray(state, np.float64), 0.0, 1.0)
        return cls(float(openness), float(iris_visible), float(occlusion))

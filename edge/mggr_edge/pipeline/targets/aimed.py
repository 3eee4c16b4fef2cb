"""A redirector whose target goes with time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.pipeline.targets import Aim


class Aimed:
    """Sets a redirector's target before every frame.

    Args:
        redirector: what redirects.
        aim: where to; a picture on its own is of time 0.
    """

    def __init__(self, redirector: Redirector, aim: Aim) -> None:
        self._redirector, self._aim = redirector, aim

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirects a frame to where the aim is by then."""
        self._redirector.target = self._aim.at(0.0 if time_s is None else time_s)
        return self._redirector.process(frame, time_s=time_s)

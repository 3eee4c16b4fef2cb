"""A redirector whose strength somebody changes while a live picture runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.live.controls import Controls
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess, FrameResult


class Steered:
    """A redirector that does what the controls say.

    Args:
        process: what passes frames to the redirector.
        redirector: whose strength is set before every frame.
        controls: what is asked for.
    """

    def __init__(self, process: FrameProcess, redirector: Redirector, controls: Controls) -> None:
        self._process, self._redirector, self._controls = process, redirector, controls

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame on."""
        controls = self._controls
        self._redirector.strength = controls.strength if controls.is_on else 0.0
        return self._process(frame, time_s=time_s)

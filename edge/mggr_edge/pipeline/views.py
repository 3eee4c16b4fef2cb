"""What is written of a redirected frame beside its pixels: drawings, or the frame before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mggr_edge.pipeline.results import FrameProcess, FrameResult

View = Callable[[NDArray[np.uint8], FrameResult], NDArray[np.uint8]]
"""(frame as it came, its result) -> [H, W, 3] uint8 RGB, what is shown of it."""


class Viewed:
    """A process whose frames are views of what it made.

    Args:
        process: what is done to each frame.
        view: what is shown of it.
    """

    def __init__(self, process: FrameProcess, view: View) -> None:
        self._process, self._view = process, view

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame through."""
        result = self._process(frame, time_s=time_s)
        return replace(result, frame=self._view(frame, result))


def side_by_side(before: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """The frame as it came on the left, as it is now on the right: twice as wide."""
    return np.concatenate([before, result.frame], axis=1)

"""Wrap a frame process: handle its errors, or change its target over time.

A frame process is a function that redirects one frame (see `results.FrameProcess`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import MggrError
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameProcess, FrameResult
from mggr_edge.pipeline.targets import TargetSource


class PassThroughOnError:
    """Frame process that returns the input frame unmodified if the redirection fails.

    `MggrError` is still raised, because the user can correct its cause.

    Args:
        process: frame process whose errors are handled.
        notify: function that receives a message at the first failure of each exception type.
    """

    def __init__(self, process: FrameProcess, *, notify: Callable[[str], None]) -> None:
        self._process, self._notify = process, notify
        self._failures: Counter[str] = Counter()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirect a frame, or return a copy of it after an error."""
        try:
            return self._process(frame, time_s=time_s)
        except MggrError:
            raise
        except Exception as error:  # noqa: BLE001 - an error must not end a video call
            kind, failure = type(error).__name__, f"{type(error).__name__}: {error}"
        self._failures[kind] += 1
        if self._failures[kind] == 1:
            self._notify(f"a frame was left unmodified because of an error: {failure}")
        return FrameResult(frame.copy(), (), failure=failure)

    @property
    def failed(self) -> int:
        """Number of frames that were left unmodified because of errors so far."""
        return sum(self._failures.values())


class Targeted:
    """Frame process that sets the target of a redirector before each frame.

    Args:
        redirector: redirector that processes the frames.
        aim: targets over time. For an image without a time, the target at 0 s is used.
    """

    def __init__(self, redirector: Redirector, aim: TargetSource) -> None:
        self._redirector, self._aim = redirector, aim

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirect a frame to the target at its time."""
        self._redirector.target = self._aim.at(0.0 if time_s is None else time_s)
        return self._redirector.process(frame, time_s=time_s)

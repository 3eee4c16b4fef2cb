"""Wrappers of a frame process: pass-through on errors, changing targets."""

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
    """Passes a frame through as it came when redirecting it fails.

    What the user can correct (`MggrError`) is raised all the same.

    Args:
        process: what redirects.
        notify: tells each kind of failure, the first time.
    """

    def __init__(self, process: FrameProcess, *, notify: Callable[[str], None]) -> None:
        self._process, self._notify = process, notify
        self._failures: Counter[str] = Counter()

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirects a frame, or passes it through."""
        try:
            return self._process(frame, time_s=time_s)
        except MggrError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the call goes on
            kind, failure = type(error).__name__, f"{type(error).__name__}: {error}"
        self._failures[kind] += 1
        if self._failures[kind] == 1:
            self._notify(f"a frame passes through as it came, and others may: {failure}")
        return FrameResult(frame.copy(), (), failure=failure)

    @property
    def failed(self) -> int:
        """How many frames passed through so far."""
        return sum(self._failures.values())


class Targeted:
    """Sets a redirector's target before every frame.

    Args:
        redirector: what redirects.
        aim: where to; a picture on its own is of time 0.
    """

    def __init__(self, redirector: Redirector, aim: TargetSource) -> None:
        self._redirector, self._aim = redirector, aim

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Redirects a frame to where the aim is by then."""
        self._redirector.target = self._aim.at(0.0 if time_s is None else time_s)
        return self._redirector.process(frame, time_s=time_s)

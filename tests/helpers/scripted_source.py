"""A live source by a script, in a camera's place."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mggr_edge.media.live.address import LiveAddress
from mggr_edge.pipeline.results import FrameResult


@dataclass
class Scripted:
    """Gives frames whose grey level counts up, each after it is let go."""

    frames: int
    error: Exception | None = None
    pause_s: float = 0.0
    given: int = 0
    closed: bool = False
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def read(self) -> NDArray[np.uint8] | None:
        if self.pause_s:
            time.sleep(self.pause_s)
        else:
            self.gate.acquire()
        if self.given == self.frames:
            if self.error is not None:
                raise self.error
            return None
        self.given += 1
        return np.full((16, 16, 3), self.given, np.uint8)

    def close(self) -> None:
        self.closed = True


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


CAMERA = LiveAddress("v4l2", "/dev/video0")


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with closing(av.open(str(path))) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

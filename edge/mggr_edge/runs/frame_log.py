"""One line of JSON for every frame, for programs that want to know what was done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import DiskError, OutputExistsError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameProcess, FrameResult


class Metrics:
    """Writes a line for every frame that goes through; made by `open_metrics`.

    Args:
        process: what is done to each frame.
        path: of the file.
        force: a file that exists may be replaced.
        more: further facts about the run after each frame.
    """

    def __init__(
        self,
        process: FrameProcess,
        path: Path,
        *,
        force: bool,
        more: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self._process, self._path, self._force, self._more = process, path, force, more
        self._file: FileIO | None = None
        self._count = 0

    def __call__(self, frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        """Passes a frame through and notes what was done."""
        started = time.perf_counter()
        result = self._process(frame, time_s=time_s)
        took_ms = 1000 * (time.perf_counter() - started)
        line = frame_facts(result, number=self._count, time_s=time_s, took_ms=took_ms)
        if self._more is not None:
            line |= self._more()
        # Opened now and not before: a run that reads nothing leaves nothing.
        self._file = self._file or _opened(self._path, force=self._force)
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DiskError(f"{self._path} takes no more lines: {reason}") from error
        self._count += 1
        return result

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def open_metrics(
    path: Path,
    process: FrameProcess,
    *,
    force: bool = False,
    more: Callable[[], dict[str, Any]] | None = None,
) -> Iterator[Metrics]:
    """Gives what writes a line for every frame. What was written stays when the run fails later.

    Args:
        path: the file.
        process: what is done to each frame.
        force: a file that exists may be replaced.
        more: further facts about the run after each frame, added to its line.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: it cannot be written.
    """
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written; name a file in a folder that is there")
    with closing(Metrics(process, path, force=force, more=more)) as metrics:
        yield metrics


def _opened(path: Path, *, force: bool) -> FileIO:
    try:
        # Without a buffer: a full disk shows at the line that it takes no more.
        return FileIO(path, "w" if force else "x")
    except FileExistsError as error:
        raise OutputExistsError(path) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def frame_facts(
    result: FrameResult, *, number: int, time_s: float | None, took_ms: float
) -> dict[str, Any]:
    """What was done to one frame, as JSON takes it.

    Angles are (pitch, yaw) in degrees, in the picture's axes: pitch + up, yaw + to its right.

    Args:
        result: of the frame.
        number: of the frame, from 0.
        time_s: of the frame in its video; None for a picture.
        took_ms: from the frame to its result.
    """
    return {
        "frame": number,
        "time_s": None if time_s is None else round(time_s, 4),
        "took_ms": round(took_ms, 2),
        "faces": [_face(face) for face in result.faces],
        "failure": result.failure,
    }


def _face(face: FaceResult) -> dict[str, Any]:
    return {
        "id": face.identity,
        "head_deg": _angles(face.head_pose),
        "eyes": [_eye(eye) for eye in face.eyes],
    }


def _eye(eye: EyeResult) -> dict[str, Any]:
    return {
        "side": eye.side,
        "centre_px": [round(float(v), 1) for v in eye.outline.mean(axis=0)],
        "gaze_deg": _angles(eye.gaze_before),
        "target_deg": _angles(eye.gaze_target),
        "strength": round(eye.strength, 3),
        "reason": eye.reason,
    }


def _angles(gaze: Gaze | None) -> list[float] | None:
    return None if gaze is None else [round(gaze.pitch_deg, 2), round(gaze.yaw_deg, 2)]

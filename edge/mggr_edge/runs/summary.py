"""What a run did: one line of JSON for each frame, and a summary at the end."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import one_line
from mggr_edge.errors import DiskError, OutputExistsError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.files.paths import VIDEO_SUFFIXES, Kind
from mggr_edge.media.live.recordings import Verb
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameProcess, FrameResult


@dataclass(frozen=True)
class Failure:
    """An input that could not be processed, while others could.

    Attributes:
        path: of the input.
        message: what is wrong, in one line.
        traceback: of an error that is a fault of this program; empty for any other.
    """

    path: Path
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes:
        kind: of the input and of the output.
        output: what was written; None where nothing was.
        frames: frames of videos and animations, and pictures.
        frames_with_faces: those in which a face was found.
        eyes_redirected: eyes of all frames whose strength was above zero.
        reasons: reason for leaving an eye alone -> eyes of all frames.
        is_copy: no pixel was changed, so the output is the input, byte for byte.
        ignored: entries of a folder that are neither pictures nor videos.
        files: files of a folder that were processed; 1 for any other input.
        videos: how many of them are videos.
        failures: files of a folder that could not be processed.
        dropped: frames of a live source that came while another was in work.
        lost: how a live source was lost; None when it ended or was stopped.
        reconnected: how often a live source came back.
        refitted: frames of another size than the first, scaled into it.
        verb: what was done with the output.
        notes: whatever else differs from the input.
        segments: files of a recording in segments.
    """

    kind: Kind | Literal["stream"]
    output: Path | str | None
    frames: int
    frames_with_faces: int
    eyes_redirected: int
    reasons: Mapping[str, int]
    is_copy: bool = False
    ignored: int = 0
    files: int = 1
    videos: int = 0
    failures: tuple[Failure, ...] = ()
    dropped: int = 0
    lost: str | None = None
    reconnected: int = 0
    refitted: int = 0
    verb: Verb = "wrote"
    notes: tuple[str, ...] = ()
    segments: tuple[Path, ...] = ()

    def in_words(self) -> str:
        """The summary as one line for people."""
        done = "wrote nothing" if self.output is None else f"{self.verb} {self.output}"
        parts = [f"{done}: {self._amount()}"]
        if self.frames_with_faces == 0:
            parts.append("no face was found")
        else:
            parts.append(f"a face in {self.frames_with_faces}")
            parts.append(f"{_count(self.eyes_redirected, 'eye')} redirected")
        if self.reasons:
            ranked = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
            parts.append("left alone: " + ", ".join(f"{n} ({reason})" for reason, n in ranked))
        if self.kind == "stream":
            parts.append(f"{_count(self.dropped, 'frame')} dropped")
        if self.reconnected:
            parts.append(f"reconnected {_count(self.reconnected, 'time')}")
        if self.refitted:
            parts.append(f"{_count(self.refitted, 'frame')} scaled into the size of the first")
        if self.is_copy:
            parts.append("no pixel was changed, so it is a copy of the input")
        if self.ignored:
            parts.append(f"{_count(self.ignored, 'other entry', 'other entries')} ignored")
        if self.failures:
            parts.append(f"{_count(len(self.failures), _noun(self.failures))} failed")
        return one_line("; ".join((*parts, *self.notes)))

    def _amount(self) -> str:
        """Number of pictures, videos and frames."""
        if self.kind in ("video", "stream"):
            return _count(self.frames, "frame")
        pictures = self.files - self.videos
        parts = [_count(pictures, "picture")] if pictures or not self.videos else []
        parts += [_count(self.videos, "video")] if self.videos else []
        frames = "" if self.frames == self.files else f" ({_count(self.frames, 'frame')})"
        return " and ".join(parts) + frames


@dataclass
class Tally:
    """Counts frames while a run goes on."""

    frames: int = 0
    frames_with_faces: int = 0
    eyes_redirected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    has_changes: bool = False
    refitted: int = 0

    def add(self, before: NDArray[np.uint8], result: FrameResult) -> None:
        """Counts one frame.

        Args:
            before: [H, W, 3] uint8, as it was read.
            result: what the redirector made of it.
        """
        self.frames += 1
        self.frames_with_faces += bool(result.faces)
        for eye in (eye for face in result.faces for eye in face.eyes):
            if eye.strength > 0:
                self.eyes_redirected += 1
            else:
                self.reasons[eye.reason or "no reason given"] += 1
        # Compared until the first change only: a millisecond per 720p frame.
        self.has_changes = self.has_changes or not np.array_equal(before, result.frame)

    def merge(self, other: Tally | RunSummary) -> None:
        """Adds the counts of another tally or of a finished run."""
        self.frames += other.frames
        self.frames_with_faces += other.frames_with_faces
        self.eyes_redirected += other.eyes_redirected
        self.reasons.update(other.reasons)
        if isinstance(other, Tally):
            self.has_changes = self.has_changes or other.has_changes
        self.refitted += other.refitted

    def summary(
        self, kind: Kind | Literal["stream"], output: Path | str | None, **rest: object
    ) -> RunSummary:
        """The counts as a summary; `rest` are its other fields."""
        return RunSummary(
            kind=kind,
            output=output,
            frames=self.frames,
            frames_with_faces=self.frames_with_faces,
            eyes_redirected=self.eyes_redirected,
            reasons=dict(self.reasons),
            refitted=self.refitted,
            **rest,  # type: ignore[arg-type]
        )


def _noun(failures: Sequence[Failure]) -> str:
    are_videos = {failure.path.suffix.lower() in VIDEO_SUFFIXES for failure in failures}
    return "file" if len(are_videos) == 2 else "video" if are_videos == {True} else "picture"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


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

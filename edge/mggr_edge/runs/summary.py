"""Results of a run: one line of JSON per frame, and a summary at the end of the run."""

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
from mggr_edge.media.files.paths import VIDEO_SUFFIXES, Kind
from mggr_edge.media.live.recordings import Verb
from mggr_edge.pipeline.results import FrameProcess, FrameResult


@dataclass(frozen=True)
class Failure:
    """File that could not be processed, in a run that continued with the other files.

    Attributes:
        path: path of the file.
        message: description of the error in one line.
        traceback: traceback if the error is an internal error of this program; empty for any other
            error.
    """

    path: Path
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run.

    Attributes:
        kind: kind of the input, which is also the kind of the output.
        output: path or name of the output; `None` if nothing was written.
        frames: number of processed frames. A picture counts as one frame.
        frames_with_faces: number of frames with at least one detected face.
        eyes_redirected: number of redirected eyes, summed over all frames. An eye is redirected if
            its strength is above zero.
        reasons: number of eyes that were not redirected, for each reason, summed over all frames.
        is_copy: True if the output is a byte-for-byte copy of the input, because no pixel was
            changed.
        ignored: number of files and folders in the input folder that are neither pictures nor
            videos.
        files: number of processed files of a folder; 1 for any other input.
        videos: number of processed files of a folder that are videos.
        failures: files of a folder that could not be processed.
        dropped: number of frames of a live source that were not processed, because a newer frame
            arrived or load shedding skipped the frame.
        lost: reason why a live source was lost; `None` if the source was not lost.
        reconnected: number of reconnections to a live source.
        refitted: number of frames that were scaled to the size of the first frame, because their
            size was different.
        verb: word that the summary uses for this output, for example "wrote".
        notes: other differences from the input.
        segments: files of a segmented recording.
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
        """Return the summary as one line of text."""
        done = "wrote nothing" if self.output is None else f"{self.verb} {self.output}"
        parts = [f"{done}: {self._amount()}"]
        if self.frames_with_faces == 0:
            parts.append("no face was found")
        else:
            noun = "frame" if self.kind in ("video", "stream") or self.videos else "picture"
            parts.append(f"faces in {_count(self.frames_with_faces, noun)}")
            parts.append(f"{_count(self.eyes_redirected, 'eye')} redirected")
        if self.reasons:
            ranked = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
            parts.append("not redirected: " + ", ".join(f"{n} ({reason})" for reason, n in ranked))
        if self.kind == "stream":
            parts.append(f"{_count(self.dropped, 'frame')} dropped")
        if self.reconnected:
            parts.append(f"reconnected {_count(self.reconnected, 'time')}")
        if self.refitted:
            parts.append(f"{_count(self.refitted, 'frame')} scaled to the size of the first frame")
        if self.is_copy:
            parts.append("no pixel was changed, so the output is a copy of the input")
        if self.ignored:
            parts.append(f"{_count(self.ignored, 'other entry', 'other entries')} ignored")
        if self.failures:
            parts.append(f"{_count(len(self.failures), _noun(self.failures))} failed")
        return one_line("; ".join((*parts, *self.notes)))

    def _amount(self) -> str:
        """Return the number of pictures, videos and frames as text."""
        if self.kind in ("video", "stream"):
            return _count(self.frames, "frame")
        pictures = self.files - self.videos
        parts = [_count(pictures, "picture")] if pictures or not self.videos else []
        parts += [_count(self.videos, "video")] if self.videos else []
        frames = "" if self.frames == self.files else f" ({_count(self.frames, 'frame')})"
        return " and ".join(parts) + frames


@dataclass
class Tally:
    """Counts of a run in progress.

    `has_changes` is True if a pixel of any frame was changed. `RunSummary` describes the other
    fields.
    """

    frames: int = 0
    frames_with_faces: int = 0
    eyes_redirected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    has_changes: bool = False
    refitted: int = 0

    def add(self, before: NDArray[np.uint8], result: FrameResult) -> None:
        """Count one frame.

        Args:
            before: [H, W, 3] uint8, input frame.
            result: result of the redirection.
        """
        self.frames += 1
        self.frames_with_faces += bool(result.faces)
        for eye in (eye for face in result.faces for eye in face.eyes):
            if eye.strength > 0:
                self.eyes_redirected += 1
            else:
                self.reasons[eye.reason or "no reason given"] += 1
        # Compare the frames only until the first change, because the comparison of two 720p frames
        # takes a millisecond.
        self.has_changes = self.has_changes or not np.array_equal(before, result.frame)

    def merge(self, other: Tally | RunSummary) -> None:
        """Add the counts of another tally or of a finished run."""
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
        """Return a summary with these counts. `rest` contains the other fields of the summary."""
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
    """Frame processor that writes one line of JSON per frame. `open_metrics` creates it.

    Args:
        process: inner frame processor, which is called with each frame.
        path: path of the metrics file.
        force: if True, replace an existing file.
        more: function that returns additional entries for the line of each frame.
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
        """Process a frame and write the line of this frame."""
        started = time.perf_counter()
        result = self._process(frame, time_s=time_s)
        took_ms = 1000 * (time.perf_counter() - started)
        line = frame_facts(result, number=self._count, time_s=time_s, took_ms=took_ms)
        if self._more is not None:
            line |= self._more()
        # Open the file at the first frame. A run without frames then creates no file.
        self._file = self._file or _opened(self._path, force=self._force)
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DiskError(
                f"the metrics file {self._path} cannot be written: {reason}",
                code="metrics-write-failed",
                path=self._path,
                reason=reason,
            ) from error
        self._count += 1
        return result

    def close(self) -> None:
        """Close the file."""
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
    """Yield a frame processor that writes one line of JSON per frame.

    If the run fails, the file with the lines so far remains.

    Args:
        path: path of the metrics file.
        process: inner frame processor, which is called with each frame.
        force: if True, replace an existing file.
        more: function that returns additional entries for the line of each frame.

    Raises:
        OutputExistsError: the file exists and `force` is false.
        UsageError: the file cannot be written.
    """
    if os.path.lexists(path) and not force:
        raise OutputExistsError(path)
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder, expected a file for the metrics",
            code="metrics-is-folder",
            path=path,
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be written, because the folder {path.parent} does not exist; create "
            "it or choose another file",
            code="metrics-folder-missing",
            path=path,
        )
    with closing(Metrics(process, path, force=force, more=more)) as metrics:
        yield metrics


def _opened(path: Path, *, force: bool) -> FileIO:
    try:
        # Do not buffer. An error then occurs at the first line that does not fit on a full disk.
        return FileIO(path, "w" if force else "x")
    except FileExistsError as error:
        raise OutputExistsError(path) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            code="metrics-not-writable",
            path=path,
            reason=error.strerror,
        ) from error


def frame_facts(
    result: FrameResult, *, number: int, time_s: float | None, took_ms: float
) -> dict[str, Any]:
    """Return the result of one frame as JSON-serializable values.

    Angles are (pitch, yaw) in degrees, in the axes of the image: positive pitch is up, and positive
    yaw is to the right.

    Args:
        result: result of the frame.
        number: number of the frame; the first frame has the number 0.
        time_s: time of the frame in the video, in seconds; `None` for a picture.
        took_ms: processing time of the frame in milliseconds.
    """
    return {
        "frame": number,
        "time_s": None if time_s is None else round(time_s, 4),
        "took_ms": round(took_ms, 2),
        **result.to_dict(),
    }

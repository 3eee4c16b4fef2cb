"""What a run did, counted while it goes and said in words at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mggr_edge.common.process import one_line
from mggr_edge.media.files.paths import VIDEO_SUFFIXES, Kind
from mggr_edge.media.live.sinks import Verb
from mggr_edge.pipeline.compositing import ComposedEye


class ProcessedEye(Protocol):
    """What was done to one eye.

    Attributes:
        strength: 0 for left alone, up to 1 for fully redirected.
        reason: why it was left alone or weakened; None or empty when it was not.
        composed: how its pixels were changed; None where they were not.
    """

    @property
    def strength(self) -> float: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def composed(self) -> ComposedEye | None: ...


class ProcessedFace(Protocol):
    """A face and its eyes."""

    @property
    def eyes(self) -> Sequence[ProcessedEye]: ...


class ProcessedFrame(Protocol):
    """A frame after the redirector: same shape, RGB uint8."""

    @property
    def frame(self) -> NDArray[np.uint8]: ...
    @property
    def faces(self) -> Sequence[ProcessedFace]: ...


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

    def add(self, before: NDArray[np.uint8], result: ProcessedFrame) -> None:
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

"""Read labels of eyes in the frames of clips, and determine the class of an eye.

A label is for example `open`, `down` (looking down), `closed` or `occluded`.

A label file is a CSV whose first two lines identify the clip::

    # sha256: 2c6d...aa38
    # frames: 433
    frame,time_ms,x,y,side,label
    12,480,438,177,right,open

`labelled_frames/README.md` defines the columns and labels.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from mggr_edge.errors import DataError, UsageError
from mggr_edge.geometry.angles import Side
from mggr_edge.models.network_io import EyeState
from mggr_tf.data.packed.index import sha256_of

Label = Literal["open", "down", "closed", "occluded", "out", "unsure"]
LABELS: tuple[Label, ...] = get_args(Label)

_SIDES: tuple[Side, ...] = get_args(Side)
_COLUMNS = ("frame", "time_ms", "x", "y", "side", "label")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass
class LabelledFace:
    """One face of a labelled frame.

    Attributes:
        centre: midpoint (x, y) between the eyes, in frame pixels.
        labels: side of the eye, from the subject's point of view -> label. At least one side
            has a label.
    """

    centre: tuple[float, float]
    labels: dict[Side, Label] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledFrame:
    """One labelled frame.

    Attributes:
        time_ms: presentation time in milliseconds.
        faces: labelled faces. Each face has at least one label.
    """

    time_ms: float
    faces: tuple[LabelledFace, ...]


@dataclass(frozen=True)
class FrameLabels:
    """All labels of one clip.

    Attributes:
        path: file with the labels.
        sha256: SHA-256 of the clip's file, as hexadecimal digits.
        frame_count: number of all frames in the clip, including frames without labels.
        frames: index of a frame -> labelled frame. The index counts from 0 in decoding order.
    """

    path: Path
    sha256: str
    frame_count: int
    frames: dict[int, LabelledFrame]


def labels_by_clip(files: Sequence[Path], clips: Sequence[Path]) -> dict[Path, FrameLabels]:
    """Read label files, and find the clip of each label file by its SHA-256.

    Args:
        files: label files.
        clips: files of the clips.

    Returns:
        clip -> its labels. Clips without labels are omitted.

    Raises:
        DataError: a label file is not valid.
        UsageError: a label file does not belong to any of the clips. This error is also raised if
            two label files belong to the same clip.
    """
    found: dict[Path, FrameLabels] = {}
    digests = {clip: sha256_of(clip) for clip in clips} if files else {}
    for file in files:
        labels = read_frame_labels(file)
        mine = [clip for clip, digest in digests.items() if digest == labels.sha256]
        if not mine:
            raise UsageError(
                f"{file} labels a clip of {labels.frame_count} frames with SHA-256 "
                f"{labels.sha256}, but no SOURCE has this SHA-256; pass that clip as SOURCE",
                code="labels-without-clip",
                path=file,
                sha256=labels.sha256,
                frames=labels.frame_count,
            )
        for clip in mine:
            if clip in found:
                raise UsageError(
                    f"{found[clip].path} and {file} label the same clip, {clip}; pass only one of "
                    "these files",
                    code="clip-labelled-twice",
                    path=file,
                    other=found[clip].path,
                    clip=clip,
                )
            found[clip] = labels
    return found


def read_frame_labels(path: Path) -> FrameLabels:
    """Read a label file.

    Raises:
        DataError: the file cannot be read, lacks a comment or a column, contains a value that is
            not accepted, or labels an eye twice. If the error is in one line, the message names
            this line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}",
            code="labels-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text", code="labels-not-utf8", path=path) from error
    comments = [*takewhile(lambda line: line.startswith("#"), lines)]
    sha256 = _comment(path, comments, "sha256")
    count = _comment(path, comments, "frames")
    if not _SHA256.fullmatch(sha256):
        raise DataError(
            f"{path}: expected 64 lower-case hexadecimal digits after `# sha256:`, got {sha256!r}",
            code="labels-sha256-invalid",
            path=path,
            found=sha256,
        )
    if not _COUNT.fullmatch(count) or not int(count):
        raise DataError(
            f"{path}: expected the clip's number of frames after `# frames:`, got {count!r}",
            code="labels-frames-invalid",
            path=path,
            found=count,
        )
    frames = _frames(path, lines, header=len(comments), count=int(count))
    return FrameLabels(path, sha256, int(count), frames)


def _comment(path: Path, comments: Iterable[str], name: str) -> str:
    for comment in comments:
        key, _, value = comment[1:].partition(":")
        if key.strip() == name:
            return value.strip()
    raise DataError(
        f"{path} has no line `# {name}: ...`, which identifies the clip",
        code="labels-comment-missing",
        path=path,
        missing=name,
    )


class _Line(NamedTuple):
    """A line of a label file. The line number counts from 1."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path} line {self.number}"


def _frames(path: Path, lines: list[str], *, header: int, count: int) -> dict[int, LabelledFrame]:
    reader = csv.DictReader(lines[header:], strict=True)
    times: dict[int, float] = {}
    faces: dict[int, dict[tuple[float, float], LabelledFace]] = {}
    try:
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path} has no column {', '.join(missing)}; expected {', '.join(_COLUMNS)}",
                code="labels-column-missing",
                path=path,
                missing=", ".join(missing),
            )
        for row in reader:
            where = _Line(path, header + reader.line_num)
            number = _frame_number(where, row["frame"], count)
            time_ms, *centre = (_number(where, name, row[name]) for name in ("time_ms", "x", "y"))
            side = cast(Side, _choice(where, "side", row["side"], _SIDES))
            label = cast(Label, _choice(where, "label", row["label"], LABELS))
            if times.setdefault(number, time_ms) != time_ms:
                raise DataError(
                    f"{where}: frame {number} has two times, {times[number]:g} and {time_ms:g} ms",
                    code="label-time-differs",
                    path=path,
                    line=where.number,
                    frame=number,
                )
            place = centre[0], centre[1]
            face = faces.setdefault(number, {}).setdefault(place, LabelledFace(place))
            if side in face.labels:
                raise DataError(
                    f"{where}: the {side} eye of the face at {place[0]:g}, {place[1]:g} in frame "
                    f"{number} already has a label; expected one label per eye",
                    code="eye-labelled-twice",
                    path=path,
                    line=where.number,
                    frame=number,
                    side=side,
                    centre=place,
                )
            face.labels[side] = label
    except csv.Error as error:
        line = header + reader.reader.line_num
        raise DataError(
            f"{_Line(path, line)} is not valid CSV: {error}",
            code="labels-not-csv",
            path=path,
            line=line,
        ) from error
    if not times:
        raise DataError(f"{path} has no rows", code="labels-without-rows", path=path)
    for before, after in pairwise(sorted(times)):
        if times[after] <= times[before]:
            raise DataError(
                f"{path}: times must increase with frames, got {times[before]:g} ms for frame "
                f"{before} and {times[after]:g} ms for frame {after}",
                code="label-times-not-increasing",
                path=path,
                before=before,
                after=after,
            )
    return {
        number: LabelledFrame(times[number], tuple(faces[number].values()))
        for number in sorted(times)
    }


def _frame_number(where: _Line, text: str | None, count: int) -> int:
    if text is None or not _COUNT.fullmatch(text) or int(text) >= count:
        raise DataError(
            f"{where}: frame must be a number from 0 to {count - 1}, got {text!r}",
            code="label-frame-invalid",
            path=where.path,
            line=where.number,
            column="frame",
            found=text,
        )
    return int(text)


def _number(where: _Line, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{where}: {name} must be a number, got {text!r}",
            code="label-not-a-number",
            path=where.path,
            line=where.number,
            column=name,
            found=text,
        )
    return value


def _choice(where: _Line, name: str, text: str | None, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise DataError(
            f"{where}: {name} must be one of {', '.join(choices)}, got {text!r}",
            code="label-not-a-choice",
            path=where.path,
            line=where.number,
            column=name,
            found=text,
        )
    return text


EyeClass = Literal["open", "down", "closed", "occluded"]
CLASSES: tuple[EyeClass, ...] = get_args(EyeClass)

Predicted = Literal["open", "down", "closed", "occluded", "out"]
"""A class, or `out`.

`out` means that the eye is not clearly visible. The device does not redirect such an eye.
"""

_OF_REASON: dict[str, Predicted] = {
    "closed": "closed",
    "looking down": "down",
    "covered": "occluded",
    "head turned": "out",
    "too small": "out",
    "not clear": "out",
}
"""Reason for which the device reduces the strength -> class. An eye with any other reason, for
example "easing in", is open."""


@dataclass(frozen=True)
class ClassLimits:
    """Thresholds that determine the class of an eye from its `EyeState`.

    An estimate of openness or of the visible share of the iris has two limits. An eye below the
    lower limit is `closed`. An eye above the upper limit of both values is `open`. All other eyes
    are `down`.

    The defaults are the limits `none` and `full` that `mggr-tf evaluate default --estimator`
    derives from synthetic eyes and from photographs of open eyes (`state_scores.derive_limits`; the
    photographs are 104 portraits of people outside the training data). They were not fitted to
    labelled frames. Labelled frames are for reporting only.

    Attributes:
        occlusion: an eye is `occluded` if at least this share of its opening is covered, in [0, 1].
            This threshold follows from the definition of the label.
        closed_openness: an eye is `closed` if its openness is at most this value. The openness is
            the distance between the lids divided by the distance between the eye corners.
        closed_iris: an eye is also `closed` if the visible share of its iris is at most this value,
            in [0, 1].
        down_openness: an eye is `down` if its openness is below this value.
        down_iris: an eye is also `down` if the visible share of its iris is below this value, in
            [0, 1].
    """

    occlusion: float = 0.5
    closed_openness: float = 0.119
    closed_iris: float = 0.242
    down_openness: float = 0.190
    down_iris: float = 0.533


def eye_class(state: EyeState, limits: ClassLimits | None = None) -> EyeClass:
    """Return the class of an eye from its estimated state.

    The occlusion is checked first, because the other values are not reliable if the lids are
    covered.

    Args:
        state: estimated state of the eye, from the estimator's output `state`.
        limits: thresholds. `None` means the defaults.
    """
    limits = limits or ClassLimits()
    if state.occlusion >= limits.occlusion:
        return "occluded"
    if state.openness <= limits.closed_openness or state.iris_visible <= limits.closed_iris:
        return "closed"
    is_down = state.openness < limits.down_openness or state.iris_visible < limits.down_iris
    return "down" if is_down else "open"


def class_of_reason(strength: float, reason: str | None) -> Predicted:
    """Return the class of an eye from the strength and the reason of its redirection.

    If an estimator has no output `state`, this function is used instead of `eye_class`.

    Args:
        strength: strength of the eye's redirection, in [0, 1]. An eye with a strength above 0 is
            `open`.
        reason: reason why the strength is below the requested strength (see
            `mggr_edge.pipeline.gating.Reason`). `None` if there is no reason.
    """
    if strength > 0.0 or reason is None:
        return "open"
    return _OF_REASON.get(reason, "open")

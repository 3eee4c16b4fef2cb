"""Time at which a video track ends, where its packets do not state how long the last frame lasts.

MP4 stores steps between packets in the order of decoding. With B-frames the frame that is shown
last is decoded earlier, so that the step behind its packet is not its duration. Matroska stores no
durations of video frames. Both state the length of the whole track.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from mggr_edge.media.files.boxes import Box, boxes

_MATROSKA_LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def track_end_s(path: Path, container: Any, stream: Any) -> Fraction | None:
    """Returns the time of a track's end in seconds; None where the file does not state it."""
    if "mp4" in container.format.name:
        with path.open("rb") as file:
            return _mp4_end_s(file, stream)
    if "matroska" in container.format.name and not stream.start_time:
        keys = {key.upper(): value for key, value in stream.metadata.items()}
        if match := _MATROSKA_LENGTH.fullmatch(keys.get("DURATION", "")):
            hours, minutes, seconds = match.groups()
            return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    return None


def _mp4_end_s(file: IO[bytes], stream: Any) -> Fraction | None:
    """The end of a track in the movie header's ticks (`tkhd`, `mvhd`); fragments have none.

    Those ticks are often milliseconds. Where the media header (`mdhd`), which counts in the track's
    own ticks, gives the same end, that one is exact.
    """
    movie = next((box for box in boxes(file) if box.kind == b"moov"), None)
    if movie is None:
        return None
    parts = list(boxes(file, movie))
    ticks = next((_numbers(file, box)[1] for box in parts if box.kind == b"mvhd"), 0)
    for track in (box for box in parts if box.kind == b"trak"):
        for header in (box for box in boxes(file, track) if box.kind == b"tkhd"):
            number, duration = _numbers(file, header)[1:3]
            if number == stream.id and duration and ticks:
                end_s, media_s = Fraction(duration, ticks), _media_s(file, track)
                exact_s = (stream.start_time or 0) * stream.time_base + media_s
                return exact_s if abs(exact_s - end_s) < Fraction(1, ticks) else end_s
    return None


def _media_s(file: IO[bytes], track: Box) -> Fraction:
    """The length of a track's media (`mdhd`), before an edit list; 0 where it is not stated."""
    for media in (box for box in boxes(file, track) if box.kind == b"mdia"):
        for header in (box for box in boxes(file, media) if box.kind == b"mdhd"):
            _, ticks, duration = _numbers(file, header)
            return Fraction(duration, ticks) if ticks else Fraction(0)
    return Fraction(0)


def _numbers(file: IO[bytes], box: Box) -> tuple[int, int, int]:
    """(modification time, ticks a second, duration) of an `mvhd` or `mdhd`.

    Of a `tkhd` they are the track's number and its duration, with four bytes between them.
    """
    file.seek(box.content)
    content = file.read(36)
    if len(content) < 36:
        return 0, 0, 0
    gap = "4x" if box.kind == b"tkhd" else ""
    form = f">4xQQI{gap}Q" if content[0] == 1 else f">4xIII{gap}I"
    _, changed, number, duration = struct.unpack_from(form, content)
    return changed, number, duration

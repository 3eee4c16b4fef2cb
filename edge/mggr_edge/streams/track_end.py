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

from mggr_edge.streams.boxes import Box, boxes

_MATROSKA_LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def track_end_s(path: Path, container: Any, stream: Any) -> Fraction | None:
    """Returns the time of a track's end in seconds; None where the file does not state it."""
    if "mp4" in container.format.name:
        with path.open("rb") as file:
            return _mp4_end_s(file, stream.id)
    if "matroska" in container.format.name and not stream.start_time:
        keys = {key.upper(): value for key, value in stream.metadata.items()}
        if match := _MATROSKA_LENGTH.fullmatch(keys.get("DURATION", "")):
            hours, minutes, seconds = match.groups()
            return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    return None


def _mp4_end_s(file: IO[bytes], track_id: int) -> Fraction | None:
    """The length of a track in the movie header's ticks (`tkhd`, `mvhd`); fragments have none."""
    movie = next((box for box in boxes(file) if box.kind == b"moov"), None)
    if movie is None:
        return None
    parts = list(boxes(file, movie))
    ticks = next((_numbers(file, box)[1] for box in parts if box.kind == b"mvhd"), 0)
    for track in (box for box in parts if box.kind == b"trak"):
        for header in (box for box in boxes(file, track) if box.kind == b"tkhd"):
            number, duration = _numbers(file, header)[1:3]
            if number == track_id and duration and ticks:
                return Fraction(duration, ticks)
    return None


def _numbers(file: IO[bytes], box: Box) -> tuple[int, int, int]:
    """(modification time, and the two numbers behind it) of an `mvhd`: ticks a second, duration.

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

"""Compute the times of video frames that a file does not state.

`LeadingTimes` computes the times of the first frames if only a later frame has a time.

`SlotTimes` computes the frame times of AVI files. For AVI files with B-frames, FFmpeg only
estimates the packet times. The estimates start too late, and for H.264 they are not in order. The
number of a packet (`dts`), however, is exact. A decoder with B-frames delays its output: the first
frame is returned together with a later packet. All other frames have the same delay, in packets, as
the first frame.

`track_end_s` reads the end time of a track. The duration of the last frame is computed from this
end time. Two formats do not state the duration of the last frame directly:

- MP4 stores the steps between packets in decoding order. With B-frames, the last displayed frame is
  not the last decoded frame. Therefore, the step after the packet of this frame is not the duration
  of the frame.
- Matroska stores no durations of video frames.

Both formats state the length of the whole track.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from mggr_edge.media.files.written import Box, boxes

_NO_TIMES = 0x0080
"""AVFMT_NOTIMESTAMPS: flag of a raw stream format without frame times."""

_MOST_HELD = 32
"""Maximum number of decoded frames that wait for a time.

In a program stream, at least one time is stored every 0.7 seconds."""


class LeadingTimes:
    """Computes the missing times of the first frames.

    The computation starts at the first frame with a time, and goes back by one step for each frame.

    Args:
        container: opened PyAV container.
        step: number of ticks between two frames.
    """

    def __init__(self, container: Any, *, step: int) -> None:
        self._step = step
        self._waits = not int(container.format.flags) & _NO_TIMES
        self._held: list[Any] = []

    def frames(self, packet: Any) -> Iterator[Any]:
        """Decode a packet and yield its frames.

        The first frames are stored until a frame has a time. Storing also ends when `_MOST_HELD`
        frames are stored or when the stream ends. Later frames are yielded immediately.
        """
        for frame in packet.decode():
            if self._waits:
                self._held.append(frame)
            else:
                yield frame
            if self._waits and (frame.pts is not None or len(self._held) == _MOST_HELD):
                yield from self._release()
        if packet.size == 0:  # the stream has ended
            yield from self._release()

    def _release(self) -> Iterator[Any]:
        """Yield the stored frames. Only the last stored frame can have a time."""
        self._waits = False
        held, self._held = self._held, []
        known = held[-1].pts if held else None
        for count, frame in enumerate(held):
            if known is not None:
                frame.pts = known - (len(held) - 1 - count) * self._step
            yield frame


class SlotTimes:
    """Computes the presentation times of frames from the numbers of their packets."""

    def __init__(self) -> None:
        self._first_dts: int | None = None
        self._delay: int | None = None
        self._last_dts: int | None = None
        self._step: int | None = None
        self._next = 0

    def note(self, packet: Any) -> None:
        """Record the number of a packet. Call this method before the packet is decoded."""
        if not packet.size or packet.dts is None:
            return
        if self._first_dts is None or self._last_dts is None:
            self._first_dts = packet.dts
        elif (step := packet.dts - self._last_dts) > 0:
            self._step = step if self._step is None else min(step, self._step)
        self._last_dts = packet.dts

    def pts(self, frame: Any) -> int:
        """Return the time of a decoded frame in ticks.

        At the end of a file, the decoder returns frames without a packet. Their times increase by
        the smallest step between packets.

        Args:
            frame: decoded frame. Its `dts` is the number of the packet that the decoder received
                last before it returned this frame.
        """
        first = self._first_dts or 0
        if frame.dts is None:
            pts = self._next if self._delay is not None else first
        else:
            if self._delay is None:
                self._delay = frame.dts - first
            pts = frame.dts - self._delay
        self._next = pts + (self._step or 1)
        return pts


_MATROSKA_LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def track_end_s(path: Path, container: Any, stream: Any) -> Fraction | None:
    """Return the end time of a track in seconds.

    `None` means that the file does not state the end time.
    """
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
    """Compute the end time of a track, in seconds, from the headers of an MP4 file.

    The track header (`tkhd`) states the duration in ticks of the movie header (`mvhd`). These ticks
    are often milliseconds. The media header (`mdhd`) states the duration in ticks of the track.
    The ticks of the track are usually shorter. If the two durations differ by less than one tick of
    the movie header, the result is computed from the media header.

    Returns:
        The end time. `None` means that the headers do not state a duration, as in fragmented files.
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
    """Return the duration in the media header (`mdhd`) of a track, in seconds.

    Edit lists are ignored. The result is 0 if the header does not state the duration.
    """
    for media in (box for box in boxes(file, track) if box.kind == b"mdia"):
        for header in (box for box in boxes(file, media) if box.kind == b"mdhd"):
            _, ticks, duration = _numbers(file, header)
            return Fraction(duration, ticks) if ticks else Fraction(0)
    return Fraction(0)


def _numbers(file: IO[bytes], box: Box) -> tuple[int, int, int]:
    """Return three numbers from an `mvhd`, `mdhd` or `tkhd` box.

    If the box is too short, all numbers are 0.

    Returns:
        (modification time, ticks per second, duration) for an `mvhd` or `mdhd` box.
        (modification time, track number, duration) for a `tkhd` box. In a `tkhd` box, four reserved
        bytes follow the track number.
    """
    file.seek(box.content)
    content = file.read(36)
    if len(content) < 36:
        return 0, 0, 0
    gap = "4x" if box.kind == b"tkhd" else ""
    form = f">4xQQI{gap}Q" if content[0] == 1 else f">4xIII{gap}I"
    _, changed, number, duration = struct.unpack_from(form, content)
    return changed, number, duration

"""Correct the times of packets and frames, and read the end time of a track.

The module corrects times that are missing or repeated, and times that jump.

`Timeline` joins segments with different clocks. A segment is a part of the file with one continuous
clock. MPEG transport and program streams can contain several segments. A Matroska file contains
several segments if a recorder continued the file after a restart. Each segment is shifted so that
the segment begins at the end of the previous segment. The shift is the same for all streams, so
that audio and video stay synchronous. Only a jump of the video clock starts a new segment, because
audio packets of a damaged file may be out of order. Audio packets of the next segment may be stored
before the first frame of that segment. Therefore, `Timeline` reads some packets in advance.

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
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mggr_edge.media.files.written import Box, boxes

_MAY_JUMP = 0x0200
"""AVFMT_TS_DISCONT: flag of a container format in which FFmpeg expects jumps of times."""

_NEVER_BACK = "mp4"
"""Container format whose times cannot decrease, because each time is a sum of durations."""

_FORWARD_S = 10
"""Maximum length of a gap in seconds.

A longer step means that a new clock starts. FFmpeg has the same limit (`dts_delta_threshold`)."""

_AHEAD = 96
"""Number of packets that are read in advance.

These packets contain about one second of video and audio."""

_CLOSE = 3
"""Number of packets before a join from which damage marks are removed.

A join is the position where the next segment begins. Only packets of the same stream count."""


@dataclass
class _Track:
    """Current position in one stream.

    Attributes:
        first_s: presentation time of the first packet, in seconds of the file's clock.
        last_s: decoding time of the last packet, in seconds of the file's clock.
        duration_s: duration of the last packet in seconds.
        shift_s: seconds that are currently added to a time of the file's clock. The result is the
            time on the timeline.
        end_s: latest end time of all packets so far, in seconds on the timeline.
    """

    first_s: Fraction
    last_s: Fraction
    duration_s: Fraction
    shift_s: Fraction = Fraction(0)
    end_s: Fraction = Fraction(0)

    def take(self, packet: Any, time_s: Fraction) -> None:
        """Move the position to `packet`. `time_s` is the decoding time of this packet."""
        self.last_s, self.duration_s = time_s, _seconds(packet, packet.duration or 0)
        self.end_s = max(self.end_s, _shown_s(packet) + self.shift_s + self.duration_s)

    def goes_back(self, time_s: Fraction) -> bool:
        """Return whether a packet with the decoding time `time_s` is earlier than this position."""
        return time_s + self.duration_s <= self.last_s and time_s < self.last_s

    @property
    def reached_s(self) -> Fraction:
        """Latest time of the stream so far, in seconds of the file's clock."""
        return max(self.last_s, self.end_s - self.shift_s)


class Timeline:
    """Shifts the times of the packets of a file to one continuous timeline.

    The order of the packets is not changed.

    Args:
        container: opened PyAV container.
        video: the video stream that is read.
    """

    def __init__(self, container: Any, video: Any) -> None:
        self._container, self._video = container, video
        self._is_looked_at = _NEVER_BACK not in container.format.name
        self._forward = bool(int(container.format.flags) & _MAY_JUMP)
        self._tracks: dict[int, _Track] = {}
        self._shift_s = Fraction(0)
        self._ahead: deque[Any] = deque()

    def packets(self, note: Callable[[Any], None]) -> Iterator[Any]:
        """Yield all packets, with `pts` and `dts` on the timeline.

        FFmpeg may mark a packet shortly before the start of the next segment as damaged, because
        the packet counters of the two segments do not match. This mark is removed, because the
        packet is complete.

        Args:
            note: callback that receives every packet before the times of the packet are changed.
        """
        for packet in self._container.demux():
            note(packet)
            if not self._is_looked_at:
                yield packet
                continue
            self._ahead.append(packet)
            if len(self._ahead) > _AHEAD:
                yield self._placed(self._ahead.popleft())
        while self._ahead:
            yield self._placed(self._ahead.popleft())

    def _placed(self, packet: Any) -> Any:
        time_s, track = _decoded_s(packet), self._tracks.get(packet.stream.index)
        if time_s is None or packet.stream.type not in ("video", "audio"):
            if track is not None:
                _move(packet, track.shift_s)
            return packet
        if track is None:
            track = _Track(_shown_s(packet), time_s, Fraction(0), self._shift_s)
            self._tracks[packet.stream.index] = track
        else:
            self._follow(packet, track, time_s)
        track.take(packet, time_s)
        if packet.is_corrupt and self._is_before_a_join(packet, track):
            packet.is_corrupt = False
        _move(packet, track.shift_s)
        return packet

    def _follow(self, packet: Any, track: _Track, time_s: Fraction) -> None:
        """Update the shift of the track for this packet."""
        if track.shift_s != self._shift_s:
            # The video is already in the next segment, but this packet may belong to the old
            # segment. Therefore, the time on the timeline is computed for both segments. The time
            # that is closer to the current end of the track is the correct one.
            if abs(time_s + self._shift_s - track.end_s) < abs(
                time_s + track.shift_s - track.end_s
            ):
                track.shift_s = self._shift_s
        elif self._jumps(track, time_s):
            first = packet if self._is_video(packet) else self._video_behind_a_jump()
            if first is not None:
                track.shift_s = self._shift_s = self._next_shift_s(first)

    def _next_shift_s(self, first: Any) -> Fraction:
        """Return the shift with which a new segment begins when all streams have ended.

        In the first segment, the video may begin later than the other streams. The video then has
        the same delay in the new segment.

        Args:
            first: first video packet of the new segment.
        """
        ends_s = max(track.end_s for track in self._tracks.values())
        begins_s = min(track.first_s for track in self._tracks.values())
        video = self._tracks.get(self._video.index)
        later_s = Fraction(0) if video is None else video.first_s - begins_s
        return ends_s + later_s - _shown_s(first)

    def _jumps(self, track: _Track, time_s: Fraction) -> bool:
        """Return whether a packet of a track with the decoding time `time_s` uses another clock.

        A long step forward in one stream is not always a new clock. If any previous packet has a
        time at most `_FORWARD_S` seconds before `time_s`, the step is only a gap. The previous
        packet can belong to another stream. The previous packet can also be a frame that is decoded
        before B-frames but displayed after these B-frames.
        """
        if not self._forward or track.goes_back(time_s):
            return track.goes_back(time_s)
        together = (t for t in self._tracks.values() if t.shift_s == track.shift_s)
        reached_s = max((track.reached_s, *(other.reached_s for other in together)))
        return time_s > reached_s + _FORWARD_S

    def _video_behind_a_jump(self) -> Any | None:
        """Return the first video packet of the next segment.

        `None` means that this packet is not read yet.
        """
        track = self._tracks.get(self._video.index)
        if track is None:
            return None
        return next(self._behind_jumps(track), None)

    def _is_before_a_join(self, packet: Any, track: _Track) -> bool:
        return any(True for _ in self._behind_jumps(track, among=_CLOSE))

    def _behind_jumps(self, track: _Track, *, among: int | None = None) -> Iterator[Any]:
        """Yield each packet that is directly after a jump of the clock.

        Only packets that were read in advance are examined.

        Args:
            track: track whose packets are examined.
            among: maximum number of examined packets. `None` means that all packets are examined.
        """
        place = replace(track)
        next_ones = (p for p in self._ahead if self._tracks.get(p.stream.index) is track)
        timed = ((p, t) for p in next_ones if (t := _decoded_s(p)) is not None)
        for packet, time_s in islice(timed, among):
            if self._jumps(place, time_s):
                yield packet
            place.take(packet, time_s)

    def _is_video(self, packet: Any) -> bool:
        return bool(packet.stream.index == self._video.index)


def _seconds(packet: Any, ticks: int) -> Fraction:
    return Fraction(ticks) * packet.time_base


def _decoded_s(packet: Any) -> Fraction | None:
    """Return the decoding time of a packet in seconds. `None` means that the time is unknown.

    If an audio packet has no decoding time, the presentation time is used, because audio packets
    are decoded and played in the same order. For video, the presentation time cannot be used,
    because frames may be displayed in another order than they are decoded.
    """
    ticks = packet.dts
    if ticks is None and packet.stream.type == "audio":
        ticks = packet.pts
    return None if ticks is None else _seconds(packet, ticks)


def _shown_s(packet: Any) -> Fraction:
    return _seconds(packet, packet.pts if packet.pts is not None else packet.dts)


def _move(packet: Any, shift_s: Fraction) -> None:
    ticks = round(shift_s / packet.time_base)
    if ticks and packet.pts is not None:
        packet.pts += ticks
    if ticks and packet.dts is not None:
        packet.dts += ticks


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

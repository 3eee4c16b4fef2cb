"""Times of video frames: missing, repeated and backward ones, and the track's end.

In MPEG transport and program streams, and in a Matroska file that a restarted recorder went on
writing, packets may carry any clock. The next segment begins where the one before ends: one shift
for all streams, so that sound stays in step with the picture.

A jump is one of the video's, because sound packets of a damaged file may be out of order. Sound of
the next segment may be read a little before its first picture, so packets are looked at ahead.

FFmpeg guesses times of AVI packets with B-frames; its guesses begin late, and H.264's are not in
order. A packet's number (dts) is exact. A decoder with B-frames holds frames back: the first frame
leaves it together with a later packet. All frames are late by as many packets as the first one.

MP4 stores steps between packets in the order of decoding. With B-frames the frame that is shown
last is decoded earlier, so that the step behind its packet is not its duration. Matroska stores no
durations of video frames. Both state the length of the whole track.
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
"""AVFMT_TS_DISCONT: a container format in which FFmpeg expects times to jump."""

_NEVER_BACK = "mp4"
"""Its times are sums of durations, which only go up."""

_FORWARD_S = 10
"""A step that is longer is no gap but another clock; FFmpeg's own limit (dts_delta_threshold)."""

_AHEAD = 96
"""Packets, about a second of picture and sound."""

_CLOSE = 3
"""Packets of a stream between the one that is marked as damaged at a join, and the join."""


@dataclass
class _Track:
    """One stream's place, in seconds.

    Attributes:
        first_s: presentation time of its first packet, by the file's clock.
        last_s: decoding time of its last packet, by the file's clock.
        duration_s: of that packet.
        shift_s: what is added to the file's clock now.
        end_s: where it ends on the timeline so far.
    """

    first_s: Fraction
    last_s: Fraction
    duration_s: Fraction
    shift_s: Fraction = Fraction(0)
    end_s: Fraction = Fraction(0)

    def take(self, packet: Any, time_s: Fraction) -> None:
        """Lets the place be that of `packet`, which is decoded at `time_s`."""
        self.last_s, self.duration_s = time_s, _seconds(packet, packet.duration or 0)
        self.end_s = max(self.end_s, _shown_s(packet) + self.shift_s + self.duration_s)

    def goes_back(self, time_s: Fraction) -> bool:
        """Whether a packet that is decoded at `time_s` comes before this place."""
        return time_s + self.duration_s <= self.last_s and time_s < self.last_s

    @property
    def reached_s(self) -> Fraction:
        """The latest time that was shown, by the file's clock."""
        return max(self.last_s, self.end_s - self.shift_s)


class Timeline:
    """Places a file's packets, in the order in which they are read.

    Args:
        container: PyAV's, opened.
        video: the stream whose pictures are read.
    """

    def __init__(self, container: Any, video: Any) -> None:
        self._container, self._video = container, video
        self._is_looked_at = _NEVER_BACK not in container.format.name
        self._forward = bool(int(container.format.flags) & _MAY_JUMP)
        self._tracks: dict[int, _Track] = {}
        self._shift_s = Fraction(0)
        self._ahead: deque[Any] = deque()

    def packets(self, note: Callable[[Any], None]) -> Iterator[Any]:
        """Reads all packets; their `pts` and `dts` are on the timeline.

        A packet before a join that is marked as damaged, because counters of the two segments do
        not fit, loses the mark: it is whole.

        Args:
            note: is given every packet as it is in the file.
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
        """Takes the shift that belongs to this packet."""
        if track.shift_s != self._shift_s:
            # The video is in the next segment already; the nearer place says which one this is in.
            if abs(time_s + self._shift_s - track.end_s) < abs(
                time_s + track.shift_s - track.end_s
            ):
                track.shift_s = self._shift_s
        elif self._jumps(track, time_s):
            first = packet if self._is_video(packet) else self._video_behind_a_jump()
            if first is not None:
                track.shift_s = self._shift_s = self._next_shift_s(first)

    def _next_shift_s(self, first: Any) -> Fraction:
        """Lets a segment, of which `first` is the first picture, begin at the end of all streams.

        A stream may begin later than others, by as much as it did in the first segment.
        """
        ends_s = max(track.end_s for track in self._tracks.values())
        begins_s = min(track.first_s for track in self._tracks.values())
        video = self._tracks.get(self._video.index)
        later_s = Fraction(0) if video is None else video.first_s - begins_s
        return ends_s + later_s - _shown_s(first)

    def _jumps(self, track: _Track, time_s: Fraction) -> bool:
        """Whether a track's packet that is decoded at `time_s` is by another clock.

        A long step forward is a gap by the same clock if a packet before it has such a time: one of
        another stream, or a frame that B-frames are shown before and decoded after.
        """
        if not self._forward or track.goes_back(time_s):
            return track.goes_back(time_s)
        together = (t for t in self._tracks.values() if t.shift_s == track.shift_s)
        reached_s = max((track.reached_s, *(other.reached_s for other in together)))
        return time_s > reached_s + _FORWARD_S

    def _video_behind_a_jump(self) -> Any | None:
        """The next segment's first video packet, if one is near."""
        track = self._tracks.get(self._video.index)
        if track is None:
            return None
        return next(self._behind_jumps(track), None)

    def _is_before_a_join(self, packet: Any, track: _Track) -> bool:
        return any(True for _ in self._behind_jumps(track, among=_CLOSE))

    def _behind_jumps(self, track: _Track, *, among: int | None = None) -> Iterator[Any]:
        """Yields packets of a track before which its clock jumps, among its next ones."""
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
    """When a packet is decoded; None where that is not known.

    Sound is decoded as it is heard; pictures may be shown in another order.
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
"""AVFMT_NOTIMESTAMPS: a format of bare frames, of which none has a time."""

_MOST_HELD = 32
"""Decoded frames; a program stream gives a time every 0.7 seconds at least."""


class LeadingTimes:
    """Counts back from the first frame that has a time.

    Args:
        container: PyAV's, opened.
        step: ticks between frames.
    """

    def __init__(self, container: Any, *, step: int) -> None:
        self._step = step
        self._waits = not int(container.format.flags) & _NO_TIMES
        self._held: list[Any] = []

    def frames(self, packet: Any) -> Iterator[Any]:
        """Decodes a packet; frames are held until the first time is known or the stream ends."""
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
        """Gives the held frames, the last of which has a time, if any has."""
        self._waits = False
        held, self._held = self._held, []
        known = held[-1].pts if held else None
        for count, frame in enumerate(held):
            if known is not None:
                frame.pts = known - (len(held) - 1 - count) * self._step
            yield frame


class SlotTimes:
    """Gives each frame, in order of presentation, its time."""

    def __init__(self) -> None:
        self._first_dts: int | None = None
        self._delay: int | None = None
        self._last_dts: int | None = None
        self._step: int | None = None
        self._next = 0

    def note(self, packet: Any) -> None:
        """Takes note of a packet before it is decoded."""
        if not packet.size or packet.dts is None:
            return
        if self._first_dts is None or self._last_dts is None:
            self._first_dts = packet.dts
        elif (step := packet.dts - self._last_dts) > 0:
            self._step = step if self._step is None else min(step, self._step)
        self._last_dts = packet.dts

    def pts(self, frame: Any) -> int:
        """Returns a decoded frame's time in ticks; `frame.dts` is that of the packet it left with.

        At the end of a file frames leave the decoder without a packet: each is later by the
        smallest step between packets.
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

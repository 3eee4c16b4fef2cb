"""Shift the times of packets to one continuous timeline.

`Timeline` joins segments with different clocks. A segment is a part of the file with one continuous
clock. MPEG transport and program streams can contain several segments. A Matroska file contains
several segments if a recorder continued the file after a restart. Each segment is shifted so that
the segment begins at the end of the previous segment. The shift is the same for all streams, so
that audio and video stay synchronous. Only a jump of the video clock starts a new segment, because
audio packets of a damaged file may be out of order. Audio packets of the next segment may be stored
before the first frame of that segment. Therefore, `Timeline` reads some packets in advance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any

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

"""One timeline for a file whose clock restarts or jumps, as where recordings were joined.

In MPEG transport and program streams, and in a Matroska file that a restarted recorder went on
writing, packets may carry any clock. The next segment begins where the one before ends: one shift
for all streams, so that sound stays in step with the picture.

A jump is one of the video's, because sound packets of a damaged file may be out of order. Sound of
the next segment may be read a little before its first picture, so packets are looked at ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

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
        shown_s, duration_s = _shown_s(packet), _seconds(packet, packet.duration or 0)
        if track is None:
            track = _Track(shown_s, time_s, duration_s, self._shift_s)
            self._tracks[packet.stream.index] = track
        else:
            self._follow(packet, track, time_s)
        track.last_s, track.duration_s = time_s, duration_s
        track.end_s = max(track.end_s, shown_s + track.shift_s + duration_s)
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
        elif self._jumps(track.last_s, track.duration_s, time_s):
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

    def _jumps(self, last_s: Fraction, duration_s: Fraction, time_s: Fraction) -> bool:
        back = time_s + duration_s <= last_s and time_s < last_s
        return back or (self._forward and time_s > last_s + _FORWARD_S)

    def _video_behind_a_jump(self) -> Any | None:
        """The next segment's first video packet, if one is near."""
        track = self._tracks.get(self._video.index)
        if track is None:
            return None
        last_s, duration_s = track.last_s, track.duration_s
        for packet in self._ahead:
            time_s = _decoded_s(packet)
            if time_s is not None and self._is_video(packet):
                if self._jumps(last_s, duration_s, time_s):
                    return packet
                last_s, duration_s = time_s, _seconds(packet, packet.duration or 0)
        return None

    def _is_before_a_join(self, packet: Any, track: _Track) -> bool:
        last_s, duration_s, seen = track.last_s, track.duration_s, 0
        for later in self._ahead:
            time_s = _decoded_s(later)
            if time_s is None or later.stream.index != packet.stream.index:
                continue
            if self._jumps(last_s, duration_s, time_s):
                return True
            last_s, duration_s = time_s, _seconds(later, later.duration or 0)
            seen += 1
            if seen == _CLOSE:
                break
        return False

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

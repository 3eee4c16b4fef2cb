"""Times of frames in AVI files, which number their packets and hold no presentation times.

FFmpeg guesses times of AVI packets with B-frames; its guesses begin late, and H.264's are not in
order. A packet's number (dts) is exact. A decoder with B-frames holds frames back: the first frame
leaves it together with a later packet. All frames are late by as many packets as the first one.
"""

from __future__ import annotations

from typing import Any


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

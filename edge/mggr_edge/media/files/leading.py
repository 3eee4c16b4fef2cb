"""Times of a video's first frames, where only later ones carry any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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

"""A source that comes, goes and comes back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live import sources as reconnecting
from mggr_edge.media.live.sources import Reconnecting

FRAME = np.zeros((2, 2, 3), np.uint8)


@dataclass
class Source:
    """Gives what is written down, or raises it."""

    script: list[NDArray[np.uint8] | StreamError | None]
    closed: bool = False

    def read(self) -> NDArray[np.uint8] | None:
        happens = self.script.pop(0)
        if isinstance(happens, StreamError):
            raise happens
        return happens

    def close(self) -> None:
        self.closed = True


@dataclass
class Place:
    """Where a source is or is not, each time that it is opened."""

    openings: list[Source | StreamError]
    said: list[str] = field(default_factory=list)
    beats: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.source = Reconnecting(
            self.open, name="door", stop=self.stop, notify=self.said.append, beat=self.beat
        )

    def open(self) -> Source:
        happens = self.openings.pop(0)
        if isinstance(happens, StreamError):
            raise happens
        return happens

    def beat(self) -> None:
        self.beats += 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnecting, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(reconnecting, "_LONGEST_WAIT_S", 0.002)


def test_one_that_was_not_there_yet_has_not_come_back() -> None:
    place = Place([StreamError("no door"), StreamError("no door"), Source([FRAME])])
    assert place.source.read() is FRAME
    assert place.source.reconnected == 0
    assert place.said[0].startswith("no door; ")
    assert place.said[1].startswith("connected to door after 0.")
    assert len(place.said) == 2


def test_one_that_is_lost_or_ends_comes_back() -> None:
    sources = [Source([FRAME, StreamError("cut off")]), Source([FRAME, None]), Source([FRAME])]
    place = Place(list(sources))
    for _ in sources:
        assert place.source.read() is FRAME
    assert [source.closed for source in sources] == [True, True, False]
    assert place.source.reconnected == 2
    assert [text.partition("; ")[0] for text in place.said[::2]] == ["cut off", "door has ended"]
    assert all(text.startswith("reconnected to door after 0.") for text in place.said[1::2])
    place.source.close()
    assert sources[-1].closed


def test_a_failure_is_a_sign_of_life() -> None:
    """Opening and waiting may each be long, and are not counted as one silence."""
    place = Place([StreamError("no door"), Source([FRAME])])
    place.source.read()
    assert place.beats == 3  # before each of two attempts, and behind the one that failed


def test_being_stopped_ends_the_waiting() -> None:
    place = Place([])
    place.stop.set()
    assert place.source.read() is None
    assert place.beats == 0

"""The newest frame wins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from mggr_edge.errors import StreamError
from mggr_edge.media.live.latest_frame import LatestFrameReader

av = pytest.importorskip("av")

from scripted_source import Scripted  # noqa: E402


def wait_for(condition: Callable[[], bool]) -> None:
    """Up to five seconds: another thread is at it."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    source, stop = Scripted(frames=6), threading.Event()
    with LatestFrameReader(source, stop=stop) as newest:
        frames = iter(newest)
        source.gate.release(4)
        wait_for(lambda: source.given == 4 and newest.dropped == 3)
        assert next(frames).rgb[0, 0, 0] == 4
        source.gate.release()
        assert next(frames).rgb[0, 0, 0] == 5
        source.gate.release(2)
        last = list(frames)
    assert [frame.rgb[0, 0, 0] for frame in last] == [6]
    assert newest.dropped == 3


def test_times_go_up_from_zero() -> None:
    source = Scripted(frames=20, pause_s=0.001)
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        times = [frame.time_s for frame in newest]
    assert times == sorted(set(times))
    assert 0 <= times[0] < 1
    assert len(times) + newest.dropped == 20


def test_a_loss_is_raised_behind_the_last_frame() -> None:
    source = Scripted(frames=1, error=StreamError("the camera is lost"))
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        source.gate.release(2)
        frames = iter(newest)
        assert next(frames).rgb[0, 0, 0] == 1
        with pytest.raises(StreamError, match="the camera is lost"):
            next(frames)


def test_stopping_ends_the_frames() -> None:
    source, stop = Scripted(frames=10**9, pause_s=0.005), threading.Event()
    with LatestFrameReader(source, stop=stop) as newest:
        for frame in newest:
            if frame.time_s > 0.05:
                stop.set()
    given = source.given
    time.sleep(0.05)
    assert source.given == given  # nobody reads on


class HardToClose(Scripted):
    def close(self) -> None:
        super().close()
        self.gate.acquire()  # for ever, as a driver may


def test_a_loss_is_raised_although_the_source_cannot_be_closed() -> None:
    source = HardToClose(frames=0, error=StreamError("the camera is lost"), pause_s=0.001)
    with LatestFrameReader(source, stop=threading.Event()) as newest:
        ends = threading.Timer(10, newest.__exit__)
        ends.start()
        with pytest.raises(StreamError, match="the camera is lost"):
            list(newest)
        ends.cancel()
    wait_for(lambda: source.closed)
    source.gate.release()


def test_the_reader_goes_on_while_the_consumer_is_busy_between_frames() -> None:
    source, busy = Scripted(frames=3), threading.Event()

    def close_a_file() -> None:
        if not busy.is_set():
            busy.set()
            source.gate.release(4)
            reader.join(10)  # ends with the source, unless it waits for the consumer

    with LatestFrameReader(source, stop=threading.Event(), meanwhile=close_a_file) as newest:
        reader = newest._thread
        frames = list(newest)
        assert not reader.is_alive()
    assert ([frame.number for frame in frames], newest.dropped) == ([2], 2)

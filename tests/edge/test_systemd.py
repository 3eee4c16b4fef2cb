"""What systemd hears, by a real socket in its place."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mggr_edge.media.live.sinks import NullOutput
from mggr_edge.runs.live_run import run_live
from mggr_edge.runs.service import supervisor as heartbeat_module
from mggr_edge.runs.service.supervisor import STUCK_S, Heartbeat, Systemd

pytest.importorskip("av")

from scripted_source import CAMERA, Scripted, invert


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0.2)

    def heard(self) -> list[str]:
        words = []
        try:
            while True:
                words.append(self.socket.recv(4096).decode())
        except TimeoutError:
            return words

    def hears(self, word: str) -> list[str]:
        """What came until it did; there may be no end of words."""
        words: list[str] = []
        ends_s = time.monotonic() + 10
        while word not in words:
            assert time.monotonic() < ends_s, words
            with contextlib.suppress(TimeoutError):
                words.append(self.socket.recv(4096).decode())
        return words


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    with closing(manager.socket):
        yield manager


def test_every_word_is_a_datagram(tmp_path: Path, manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
    systemd.ready()
    systemd.status("two\nlines")
    for _ in range(100):
        systemd.alive()  # often enough is once in ten seconds here
    systemd.stopping()
    assert manager.heard() == ["READY=1", "STATUS=two lines", "WATCHDOG=1", "STOPPING=1"]
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    words = dict(line.split("=") for line in manager.heard()[0].splitlines())
    assert words["RELOADING"] == "1"
    assert before_us <= int(words["MONOTONIC_USEC"]) <= before_us + 1_000_000


@pytest.mark.parametrize("limit", [None, "0", "soon"])
def test_without_a_watchdog_nothing_kicks(
    tmp_path: Path, manager: Manager, limit: str | None
) -> None:
    more = {} if limit is None else {"WATCHDOG_USEC": limit}
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}).alive()
    assert manager.heard() == []


def test_an_abstract_socket(tmp_path: Path) -> None:
    name = f"mggr-test-{tmp_path.name}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(f"\0{name}")
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_where_nobody_listens_it_goes_on(environment: dict[str, str]) -> None:
    systemd = Systemd(environment)
    systemd.ready()
    systemd.alive()


def test_a_run_is_ready_before_its_first_frame_and_kicks_while_it_waits(
    tmp_path: Path,
    manager: Manager,
    scripted: Callable[[Scripted], Scripted],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    source, stop = scripted(Scripted(frames=3)), threading.Event()
    running = threading.Thread(
        target=lambda: run_live(CAMERA, NullOutput(), process=invert, stop=stop), daemon=True
    )
    running.start()
    assert manager.hears("WATCHDOG=1")[0] == "READY=1"
    source.gate.release(4)
    assert set(manager.hears("STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
    running.join(10)
    assert not running.is_alive()
    assert manager.heard() == []


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_reader_that_hangs_is_stuck_and_one_that_tries_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(heartbeat_module, "time", clock)
    heartbeat = Heartbeat()
    clock.now += STUCK_S - 1
    assert not heartbeat.is_stuck
    clock.now += 2
    assert heartbeat.is_stuck
    heartbeat.beat()
    assert not heartbeat.is_stuck

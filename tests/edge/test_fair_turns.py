"""Several cameras in one process: turns, load and bundles that they share."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.installed import bundle_path
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.service.fair_turns import FairTurns, InTurn
from mggr_edge.runs.service.load_shedding import WINDOW_S, FrameSkipper, Level, Load
from mggr_edge.runs.service.shared_bundles import SharedBundles
from mggr_edge.runs.service.shared_load import SharedLoad, TotalLoad


def test_the_camera_that_used_the_least_time_is_next() -> None:
    turns, order = FairTurns(), []
    heavy, light, other = turns.join(), turns.join(), turns.join()
    heavy.spent_s, light.spent_s, other.spent_s = 3.0, 1.0, 2.0

    def take(name: str, turn) -> None:
        with turn:
            order.append(name)

    busy = turns.join()
    with busy:
        threads = []
        for name, turn in (("heavy", heavy), ("light", light), ("other", other)):
            threads.append(threading.Thread(target=take, args=(name, turn)))
            threads[-1].start()
        while len(turns._waiting) < 3:
            time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert order == ["light", "other", "heavy"]
    assert heavy.waited_s > 0


def test_frames_are_processed_one_at_a_time_and_time_is_shared_equally(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, turns, ended = [0.0], FairTurns(), []
    monkeypatch.setattr(
        "mggr_edge.runs.service.fair_turns.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    inside, most, counts = [0], [0], {"slow": 0, "fast": 0}

    def process_for(took_s: float):
        def process(frame, /, *, time_s=None):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            while not turns._waiting and not ended:  # the other camera always waits, too
                time.sleep(0.0005)
            now[0] += took_s
            inside[0] -= 1
            return FrameResult(frame, ())

        return process

    def run(name: str, took_s: float) -> None:
        process = InTurn(process_for(took_s), turns.join())
        while now[0] < 8.0:
            process(np.zeros((2, 2, 3), np.uint8))
            counts[name] += 1
        ended.append(name)

    threads = [threading.Thread(target=run, args=one) for one in (("slow", 0.4), ("fast", 0.1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    # Equal time: four times as many frames of a quarter of the length. Without turns by time, both
    # cameras would get equal numbers of frames.
    assert 3 * counts["slow"] < counts["fast"] < 5 * counts["slow"]


def test_an_idle_camera_gets_no_credit() -> None:
    turns = FairTurns()
    busy, idle = turns.join(), turns.join()
    for _ in range(3):
        with busy:
            time.sleep(0.01)
    with idle:
        pass
    assert idle.spent_s >= 0.02


def test_an_error_ends_the_turn() -> None:
    turns = FairTurns()

    def broken(frame, /, *, time_s=None):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        InTurn(broken, turns.join())(np.zeros((2, 2, 3), np.uint8))
    with turns.join():
        pass


def test_loads_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], []
    monkeypatch.setattr("mggr_edge.runs.service.shared_load.time.monotonic", lambda: now[0])
    shared = SharedLoad(temperature=lambda: None, notify=said.append)
    half = Load(arrived=10, taken=10, busy_s=0.6, lasted_s=1.0)
    with shared.join(lambda: True) as door:
        for _ in range(4):  # one camera alone is no overload
            now[0] += WINDOW_S
            door.look(half)
        assert door.level is Level.ALL
        with shared.join(lambda: True) as desk:
            for _ in range(3):
                now[0] += WINDOW_S
                desk.look(half)
                door.look(half)
            assert door.level is desk.level is Level.COARSE
            assert len(said) == 1
        now[0] += 3 * WINDOW_S  # the load of the camera that has left does not count
        for _ in range(20):
            now[0] += WINDOW_S
            door.look(Load(arrived=10, taken=10, busy_s=0.2, lasted_s=1.0))
        assert door.level is Level.ALL


def test_without_coarse_everywhere_the_first_step_skips_frames() -> None:
    shared = SharedLoad(temperature=lambda: None, notify=lambda text: None)
    heavy = TotalLoad((Load(10, 10, 0.7, 1.0), Load(10, 10, 0.7, 1.0)))
    assert (heavy.taken, heavy.share) == (20, pytest.approx(1.4))
    with shared.join(lambda: True), shared.join(lambda: False) as share:
        for _ in range(2):
            shared.controller.look(heavy)
        assert share.level is Level.HALF


def test_waiting_is_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, waited = [], [0.0]

    class Pressure:
        level, must_cool = Level.ALL, False

        def look(self, load: Load) -> None:
            seen.append(load)

    now = [0.0]
    monkeypatch.setattr(
        "mggr_edge.runs.service.load_shedding.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    skipper = FrameSkipper(Pressure(), lambda fine: None, waited_s=lambda: waited[0])
    for number in range(1, 13):
        skipper.takes(number)
        with skipper.work():
            now[0] += 0.1
            waited[0] += 0.08
    assert seen[0].busy_s / seen[0].taken == pytest.approx(0.02)
    assert seen[0].lasted_s >= WINDOW_S


def test_a_bundle_is_opened_once_and_closed_by_its_last_user(tmp_path: Path) -> None:
    folder, bundles = tmp_path / "bundle", SharedBundles()
    shutil.copytree(bundle_path("default"), folder)
    first, second = bundles.open(folder), bundles.open(str(folder))
    assert first is second
    runner = first.model("estimator")
    first.close()
    assert second.model("estimator") is runner
    second.close()
    with pytest.raises(ValueError, match="closed"):
        second.model("estimator")
    third = bundles.open(folder)
    assert third is not first
    (folder / "SHA256SUMS").touch()  # a new copy of the files
    fourth = bundles.open(folder)
    assert fourth is not third
    assert fourth.model("estimator") is not third.model("estimator")
    third.close()
    fourth.close()


def test_a_shared_bundle_stays_open_for_the_others() -> None:
    with Bundle.open("default") as bundle:
        with bundle.share() as same:
            assert same is bundle
        bundle.model("estimator")
    with pytest.raises(ValueError, match="closed"):
        bundle.share()

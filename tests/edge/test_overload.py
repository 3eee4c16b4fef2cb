"""A processor that another program loads: less work, a report, and more work again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from mggr_edge.runs.service.load_shedding import Level
from streaming import Server, serving

pytest.importorskip("av")

SCRIPT = """
import sys, time
from mggr_edge.media.live.address import live_address
from mggr_edge.media.live.sinks import NullOutput
from mggr_edge.runs.live_run import run_live
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.service.load_shedding import LoadController
from mggr_edge.runs.service.load_shedding import FrameSkipper

work_s = [0.018]  # of the processor, for a frame of 40 ms

def set_fine(fine):
    work_s[0] = 0.018 if fine else 0.011

def process(frame, /, *, time_s=None):
    ends = time.thread_time() + work_s[0]
    while time.thread_time() < ends:
        pass
    print(f"frame {time_s:.3f}", flush=True)
    return FrameResult(frame, ())

def say(text):
    print(text, flush=True)

pressure = LoadController(has_coarse=lambda: True, temperature=lambda: None, notify=say)
summary = run_live(
    live_address(sys.argv[1]),
    NullOutput(),
    process=process,
    workload=FrameSkipper(pressure, set_fine),
)
print(summary.in_words(), flush=True)
"""

ALL, COARSE = Level.ALL.in_words(), Level.COARSE.in_words()
BUSY = "while True: pass"
PATIENCE_S = 120


class CountedProcess:
    """The live process, and what it says, with the time."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, url],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.frames_s: list[float] = []
        self.said: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("frame "):
                self.frames_s.append(float(line.split()[1]))
            else:
                self.said.append(line.strip())

    def is_at(self, level: str) -> bool:
        """Whether this level was reported last; at the start, nothing is reported."""
        return self.said[-1].endswith(level) if self.said else True

    def wait(self, happened: Callable[[], bool]) -> None:
        ends_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < ends_s, self.said
            time.sleep(0.05)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0
        self._reading.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


@pytest.mark.slow
@pytest.mark.processes
def test_another_programs_load_steps_the_work_down_and_its_end_up_again(
    serve: Callable[..., Server],
) -> None:
    if os.getloadavg()[0] > 1.0:
        pytest.skip("something else runs here, and would not leave room again")
    watched = CountedProcess(serve(0).url)
    # Where something else runs beside the tests, it may have been stepped down already.
    watched.wait(lambda: len(watched.frames_s) > 100 and watched.is_at(ALL))
    before = len(watched.said)
    others = [
        subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(4 * (os.cpu_count() or 1))
    ]
    try:
        watched.wait(lambda: any(text.endswith(COARSE) for text in watched.said[before:]))
        loaded_from = len(watched.frames_s)
        watched.wait(lambda: len(watched.frames_s) > loaded_from + 60)
        loaded_to = len(watched.frames_s)
    finally:
        for other in others:
            other.kill()
            other.wait()
    watched.wait(lambda: watched.is_at(ALL))
    watched.end()
    down = next(text for text in watched.said[before:] if text.endswith(COARSE))
    assert re.search(r"\d%", down)
    loaded_s = watched.frames_s[loaded_from:loaded_to]
    gaps_s = [later - earlier for earlier, later in pairwise(loaded_s)]
    # The newest frame is taken: what it is late by is one frame's work, and does not add up.
    assert max(gaps_s) < 2.0
    assert "frames dropped" in watched.said[-1]

"""SIGTERM and SIGHUP end a file run without a trace of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from mggr_edge.common.process import SIGNALS, ended_by_signals

ENDED_WHILE_IT_WORKS = """
import os, pathlib, sys, click
from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.common.process import run_program
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.file_run import run

@click.group(cls=MggrGroup)
def main():
    pass

@main.command()
@click.argument("source")
@click.argument("number", type=int)
def go(source, number):
    def process(frame, /, *, time_s=None):
        for entry in pathlib.Path(".").glob("*.partial-*"):
            print(entry.name, flush=True)
        os.kill(os.getpid(), number)
        return FrameResult(255 - frame, ())
    run(source, process=process)

run_program(main, "program")
"""


def run_and_end(tmp_path: Path, source: str, number: int, **rest) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", ENDED_WHILE_IT_WORKS, "go", source, str(int(number))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        **rest,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    assert cv2.imwrite(str(folder / "me.png"), np.full((16, 16, 3), 90, np.uint8))
    return folder


@pytest.mark.extended
@pytest.mark.processes
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_nothing_half_written(tmp_path: Path, photos: Path, number: int) -> None:
    ended = run_and_end(tmp_path, "photos", number)
    assert ended.returncode == 128 + number, ended.stderr
    assert ".partial-" in ended.stdout  # there was something to remove
    assert ended.stderr == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


@pytest.mark.processes
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, photos: Path) -> None:
    ended = run_and_end(
        tmp_path,
        "photos",
        signal.SIGHUP,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "photos-redirected" / "me.png").is_file()


def test_handlers_are_put_back_and_cleaning_up_is_not_interrupted() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    removed = []

    def work() -> None:
        with ended_by_signals():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGHUP)
                removed.append("partial")

    with pytest.raises(SystemExit) as caught:
        work()
    assert caught.value.code == 143
    assert removed == ["partial"]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_after_one_that_a_library_caught_ends_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mggr_edge.common.process._CLEANING_S", 0.0)

    def work() -> None:
        with ended_by_signals():
            with contextlib.suppress(BaseException):  # as generated code of flatbuffers does
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)

    with pytest.raises(SystemExit) as caught:
        work()
    assert caught.value.code == 129


def test_other_threads_have_no_handlers() -> None:
    seen = []

    def enter() -> None:
        with ended_by_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]

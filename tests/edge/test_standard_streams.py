"""A command whose standard output is full, closed, or a pipe that nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

COMMANDS = [["-m", "mggr_edge", "--version"], ["-m", "mggr_edge", "run", "--help"]]


def environment(*, is_buffered: bool) -> dict[str, str]:
    unbuffered = "" if is_buffered else "1"
    return {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": unbuffered}


def check_one_line(ended: subprocess.CompletedProcess) -> None:
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("is_buffered", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_is_an_error_of_one_line(command: list[str], is_buffered: bool) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, *command],
            env=environment(is_buffered=is_buffered),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    check_one_line(ended)


@pytest.mark.parametrize("is_buffered", [True, False])
def test_a_pipe_that_nobody_reads_is_an_error_of_one_line(is_buffered: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, *COMMANDS[1]],
            env=environment(is_buffered=is_buffered),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    check_one_line(ended)


def test_an_error_output_that_is_full_leaves_the_exit_code(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "mggr_edge", "run", "missing.png"],
            env=environment(is_buffered=True),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
        )
    assert ended.returncode == 2


def test_files_never_get_the_numbers_of_closed_streams() -> None:
    code = (
        "import os; from mggr_edge.common.process import open_closed_streams\n"
        "for number in (0, 1, 2): os.close(number)\n"
        "open_closed_streams()\n"
        "os._exit(os.open(os.devnull, os.O_RDONLY))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(is_buffered=True), timeout=60
    )
    assert ended.returncode > 2

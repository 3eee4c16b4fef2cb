"""Exit of a process with a reader thread that hangs in a driver."""

import os
import subprocess
import sys
import threading
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mggr_edge.common.cli_group import MggrGroup
from mggr_edge.common.process import abandon

HANGING = """
import atexit, sys, threading, time
from mggr_edge.common.process import abandon, exit_if_readers_hang
atexit.register(lambda: print("shut down"))
thread = threading.Thread(target=time.sleep, args=(float(sys.argv[1]),), daemon=True)
thread.start()
abandon(thread)
thread.join(0.2)
print("recorded")
exit_if_readers_hang(3)
print("no reader hangs")
"""

COMMAND = """
import threading, time
import mggr_edge.__main__ as program
from mggr_edge.cli import main
from mggr_edge.common.process import abandon

@main.command()
def hang():
    thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    thread.start()
    abandon(thread)
    raise SystemExit(5)

import sys
sys.argv = ["mggr-edge", "hang"]
import atexit
atexit.register(lambda: print("shut down"))
program.main()
"""


def run(code: str, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        **how,
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("seconds", "code", "output"),
    [(60, 3, "recorded\n"), (0, 0, "recorded\nno reader hangs\nshut down\n")],
)
def test_only_a_hanging_reader_ends_the_process_at_once(seconds, code, output):
    ended = run(HANGING, str(seconds))
    assert (ended.returncode, ended.stdout) == (code, output), ended.stderr


@pytest.mark.processes
def test_a_hanging_reader_ends_a_process_without_standard_output():
    ended = run(HANGING, "60", preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (3, "")


@pytest.mark.processes
def test_the_program_exits_with_the_code_of_its_command_while_a_reader_hangs():
    ended = run(COMMAND)
    assert (ended.returncode, ended.stdout) == (5, ""), ended.stderr


def test_a_command_within_another_program_never_ends_that_program(monkeypatch):
    """A host that runs a command in its own process goes on, whatever threads it has."""
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"ended its host with {code}"))
    release = threading.Event()
    readers = [threading.Thread(target=release.wait, name="capture") for _ in range(2)]
    group = MggrGroup(commands={"quit": click.Command("quit", callback=lambda: None)})
    try:
        for reader in readers:
            reader.start()
        abandon(readers[0])
        assert CliRunner().invoke(group, ["quit"]).exit_code == 0
    finally:
        release.set()
        for reader in readers:
            reader.join()

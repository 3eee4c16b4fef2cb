"""The systemd unit is one that systemd takes, and starts a command that exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mggr_edge.cli import main
from mggr_edge.tools.doctor.system import UNIT

EDGE = Path(__file__).parents[2] / "edge"
SERVICE, ENVIRONMENT = EDGE / "mggr-edge.service", EDGE / "mggr-edge.env"
PROGRAM = "/opt/mggr-edge/bin/mggr-edge"


def settings() -> dict[str, list[str]]:
    """What the unit says; a word may be said more than once."""
    found: dict[str, list[str]] = {}
    for line in SERVICE.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def environment() -> dict[str, str]:
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.processes
def test_systemd_takes_it_without_a_word(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    # The program is where the README puts it, which is not here.
    text = SERVICE.read_text(encoding="utf-8").replace(PROGRAM, sys.executable)
    (tmp_path / SERVICE.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / SERVICE.name)],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_TARGET": "console"},
    )
    # An unknown word is a line of print and no failure.
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if SERVICE.name in line]
    assert (complaints, done.returncode) == ([], 0)


def test_it_starts_a_command_that_exists() -> None:
    (line,) = settings()["ExecStart"]
    program, command, *words = line.split()
    assert (program, command) == (PROGRAM, "run")
    values = environment()
    arguments = []
    for word in words:
        if whole := re.fullmatch(r"\$\{(\w+)\}", word):
            arguments.append(values[whole[1]])
        elif parts := re.fullmatch(r"\$(\w+)", word):
            arguments += shlex.split(values[parts[1]])
        else:
            arguments.append(word)
    run = main.commands["run"]
    assert isinstance(run, click.Command)
    context = run.make_context("run", arguments)
    assert context.params["reconnect"]
    assert context.params["headless"]
    assert context.params["input_"] == values["INPUT"]
    assert context.params["output"] == values["OUTPUT"]


def test_its_folders_are_those_that_the_program_looks_into(monkeypatch: pytest.MonkeyPatch) -> None:
    from mggr_edge.models.tensorrt.cache import cache_folder
    from mggr_edge.runs.profile import profile_file

    said = settings()
    for assignment in " ".join(said["Environment"]).split():
        monkeypatch.setenv(*assignment.split("=", 1))
    assert cache_folder() == Path("/var/cache") / said["CacheDirectory"][0] / "engines"
    assert profile_file() == Path("/var/lib") / said["StateDirectory"][0] / "profile.json"


def test_the_watchdog_waits_longer_than_a_source_may_take_to_be_called_stuck() -> None:
    from mggr_edge.runs.service.supervisor import STUCK_S

    said = settings()
    assert said["Type"] == ["notify"]
    assert said["NotifyAccess"] == ["main"]
    assert said["Restart"] == ["always"]
    assert 30 <= STUCK_S + int(said["WatchdogSec"][0]) <= 120
    assert SERVICE.name == UNIT

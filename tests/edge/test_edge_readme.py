"""What the device's README tells to type is what the program takes and the doctor says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mggr_edge.cli import main
from mggr_edge.tools.doctor.cameras import KEEP, LOAD

README = (Path(__file__).parents[2] / "edge" / "README.md").read_text(encoding="utf-8")


def typed() -> list[str]:
    """Lines of shell, those that go on joined."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def commands() -> list[list[str]]:
    """What follows `mggr-edge`, without comments."""
    lines = [shlex.split(line, comments=True) for line in typed()]
    at = [(words, i) for words in lines for i, word in enumerate(words) if _is_program(word)]
    return [words[i + 1 :] for words, i in at if i == 0 or words[i] != "mggr-edge"]


def _is_program(word: str) -> bool:
    return word in ("mggr-edge", "/opt/mggr-edge/bin/mggr-edge")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_taken(words: list[str]) -> None:
    command = main.commands[words[0]]
    assert isinstance(command, click.Command)
    command.make_context(words[0], words[1:])


def test_there_are_commands() -> None:
    assert {words[0] for words in commands()} == {"setup", "doctor", "run", "bench", "build-engine"}


@pytest.mark.parametrize("line", [LOAD, *KEEP.splitlines()])
def test_the_virtual_camera_is_made_as_the_doctor_says(line: str) -> None:
    assert line in typed()


def test_files_beside_it_are_there() -> None:
    for name in ("mggr-edge.service", "mggr-edge.env"):
        assert name in README
        assert (Path(__file__).parents[2] / "edge" / name).is_file()


def test_it_says_first_what_it_has_not_seen() -> None:
    assert "These steps have not been tested on a Jetson" in README.splitlines()[2]

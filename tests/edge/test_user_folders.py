"""Commands without a home folder: no HOME, and a user id that has no account."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.common import folders as user_folders
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.tensorrt.cache import cache_folder
from mggr_edge.runs.profile import NO_PROFILE, chosen_profile, profile_file
from refusals import error_of


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # `tmp_path` comes first: pytest asks for the user id, too.
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_123)


def test_without_a_home_there_are_no_folders(
    no_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError):
        Path.home()  # this is what Python answers
    assert (user_folders.config_home(), user_folders.cache_home()) == (None, None)
    assert (profile_file(), cache_folder()) == (None, None)
    assert chosen_profile(None, own_camera=True) is None
    assert chosen_profile(NO_PROFILE, own_camera=True) is None
    assert chosen_profile("me.json", own_camera=False) == Path("me.json")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/mggr-edge/engines")


def test_a_picture_is_redirected_without_a_home(
    no_home: None, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("in.png", np.full((32, 32, 3), 90, np.uint8))
    ended = CliRunner().invoke(main, ["run", "in.png", "out.png"])
    assert ended.exit_code == 0, ended.output
    assert sorted(os.listdir()) == ["in.png", "out.png"]


def test_calibrating_without_a_home_asks_for_a_file(no_home: None) -> None:
    ended = CliRunner().invoke(main, ["calibrate", "/dev/video77"])
    error_of(ended, "no-home-folder")
    assert "--profile FILE" in ended.stderr


def test_the_doctor_examines_a_machine_without_a_home(no_home: None) -> None:
    ended = CliRunner().invoke(main, ["doctor", "--json"])
    assert ended.exit_code in (0, 1)
    assert "home" not in ended.output.lower()


@pytest.mark.parametrize("name", ["folder", "folder/", "missing/", ""])
@pytest.mark.parametrize(
    "arguments",
    [["run", "in.png", "out.png", "--metrics"], ["calibrate", "/dev/video77", "--profile"]],
)
def test_files_to_write_are_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert cv2.imwrite("in.png", np.full((32, 32, 3), 90, np.uint8))
    ended = CliRunner().invoke(main, [*arguments, name])
    assert ended.exit_code == 2
    error_of(ended, "option-names-folder", option=arguments[-1], path=name)
    assert sorted(os.listdir()) == ["folder", "in.png"]


@pytest.mark.parametrize("camera", ["http://me:secret@cam/x", "rtsp:me:secret@cam/x"])
def test_calibrate_shows_no_password(camera: str) -> None:
    ended = CliRunner().invoke(main, ["calibrate", camera])
    assert ended.exit_code == 2
    assert "secret" not in ended.output

"""The config of a service: what is accepted, and what is refused with the name of the key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.errors import ConfigError
from mggr_edge.runs.service_config import read_service_config
from refusals import refusal

DOOR = '[[camera]]\nname = "door"\ninput = "rtsp://door.local/live"\noutput = "null://"\n'


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> Path:
        path = Path("service.toml")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_every_key_reaches_the_options(written) -> None:
    config = read_service_config(
        written(
            'model = "default-int8"\nprometheus = 9105\nmax-temperature = 70\nstep-down = false\n'
            + DOOR
            + '[[camera]]\nname = "desk"\ninput = "camera://0"\noutput = "desk.mp4"\n'
            'target = "2,-3"\nlook-away = true\nstrength = 0.5\nmax-faces = 2\nprofile = "none"\n'
            "mark = true\noverlay = true\nsegment = 60\nkeep-hours = 48\nkeep-gb = 2.5\n"
            'metrics = "desk.jsonl"\nmodel = "default"\nauto-calibrate = true\n'
            "input-width = 640\ninput-height = 480\ninput-rate = 15\n"
            'input-flip = "horizontal"\n'
        )
    )
    assert config.names == ("door", "desk")
    assert (config.prometheus, config.step_down) == (9105, False)
    door, desk = (camera.options(config) for camera in config.camera)
    assert (door.model, desk.model) == ("default-int8", "default")
    assert door.service.hot_c == desk.service.hot_c == 70
    assert door.service.reconnect
    assert not door.service.step_down
    assert (desk.target, desk.look_away, desk.strength, desk.max_faces) == ("2,-3", True, 0.5, 2)
    assert (desk.segment_s, desk.retention.max_age_s) == (3600, 48 * 3600)
    assert (desk.retention.max_bytes, desk.metrics, desk.profile) == (2.5e9, "desk.jsonl", "none")
    assert (desk.mark, desk.overlay, desk.auto_calibrate) == (True, True, True)
    wanted = desk.camera_format
    assert (wanted.width, wanted.height, wanted.rate, wanted.flip) == (640, 480, 15, "horizontal")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid-value"),
        ("camera = 1\n", "wrong-type"),
        ("camera = []\n", "invalid-value"),
        ("[camera]\nname = 'door'\n", "wrong-type"),
        ("cameras = 1\n" + DOOR, "unknown-key"),
        (DOOR + "segments = 3\n", "unknown-key"),
        (DOOR + DOOR, "invalid-value"),
        (DOOR.replace('"door"', '"a door"'), "invalid-value"),
        (DOOR.replace('"door"', "1"), "wrong-type"),
        (DOOR + "strength = 1.5\n", "invalid-value"),
        (DOOR + "strength = nan\n", "invalid-value"),
        (DOOR + "segment = inf\n", "invalid-value"),
        (DOOR + "max-faces = 0\n", "invalid-value"),
        (DOOR + "segment = true\n", "wrong-type"),
        ("prometheus = 0\n" + DOOR, "invalid-value"),
        ("prometheus = true\n" + DOOR, "wrong-type"),
        ("max-temperature = nan\n" + DOOR, "invalid-value"),
        (DOOR + 'input-flip = "up"\n', "value-not-allowed"),
        (DOOR.replace("rtsp://door.local/live", "call.mp4"), "service-camera-invalid"),
        (DOOR.replace("rtsp://door.local/live", "rtps://x/y"), "service-camera-invalid"),
        (DOOR.replace("null://", "door.mp4"), "service-camera-invalid"),
        (DOOR.replace("null://", "missing/door.mp4") + "segment = 1\n", "service-camera-invalid"),
        (DOOR.replace("null://", "display://0"), "service-camera-invalid"),
        (DOOR + "segment = 1\n", "service-camera-invalid"),
        (DOOR + "keep-gb = 1\n", "service-camera-invalid"),
        (DOOR + 'target = "up"\n', "service-camera-invalid"),
        (DOOR + 'follow = "missing.csv"\n', "service-camera-invalid"),
        (DOOR + "estimate-only = true\nmark = true\n", "service-camera-invalid"),
        ("[[camera]\n", "service-config-not-toml"),
        (b"model = '\xff'\n", "service-config-not-toml"),
        ("a = 1\na = 2\n", "service-config-not-toml"),
        ("#" * 1_000_001, "service-config-not-toml"),
    ],
)
def test_a_wrong_file_is_refused(written, text: str | bytes, code: str) -> None:
    path = written(text)
    with refusal(ConfigError, code) as caught:
        read_service_config(path)
    assert "service.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with refusal(ConfigError, "service-config-not-readable", path=path):
            read_service_config(path)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("call.mp4", "./call.mp4"),
        ("rtsp://@:8554/a", "rtsp://@:8554/b"),
        ("v4l2loopback:///dev/video9", "v4l2loopback:///dev/video9"),
        ("virtual-camera://", "virtual-camera://"),
    ],
)
def test_two_cameras_do_not_share_an_output(written, one: str, two: str) -> None:
    segment = "segment = 1\n" if one.endswith("mp4") else ""
    first = DOOR.replace("null://", one) + segment
    second = DOOR.replace("null://", two).replace("door", "desk") + segment
    with refusal(ConfigError, "service-camera-invalid", camera="desk"):
        read_service_config(written(first + second))


def test_passwords_are_not_in_messages(written) -> None:
    text = DOOR.replace("null://", "rtsp://me:secret@:8554/door").replace(
        "rtsp://door.local/live", "rtp://me:hidden@door.local/live"
    )
    with refusal(ConfigError, "service-camera-invalid") as caught:
        read_service_config(written(text))
    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_check_opens_nothing(written) -> None:
    path = written('model = "a/missing/bundle"\n' + DOOR)
    done = CliRunner().invoke(main, ["service", "--config", str(path), "--check"])
    assert done.exit_code == 0, done.output
    assert "door" in done.stdout
    path.write_text(DOOR + "x = 1\n")
    done = CliRunner().invoke(main, ["service", "--config", str(path), "--check"])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.processes
def test_a_service_with_a_wrong_bundle_ends_at_once(written) -> None:
    path = written('model = "a/missing/bundle"\n' + DOOR)
    done = subprocess.run(
        [sys.executable, "-m", "mggr_edge", "service", "--config", path, "--log-format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert '"level": "error"' in done.stderr

"""Windows and macOS, by their names and without the modules of Unix. No such system is here."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import mggr_edge
from mggr_edge.cli import main
from mggr_edge.common import atomic, folders, process
from mggr_edge.common.addresses import Address, input_address, output_address, path_type
from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.media.live import cameras, sinks
from mggr_edge.media.live.address import CameraFormat, LiveAddress, live_address
from mggr_edge.media.live.cameras import CameraCapture, FoundCamera, list_cameras
from mggr_edge.tools.bench import pipeline
from mggr_edge.tools.doctor.cameras import check_cameras
from mggr_edge.tools.doctor.machine import Machine
from refusals import refusal

UNIX_ONLY = """
import importlib, json, signal, os, subprocess, sys
for name in ("fcntl", "resource", "termios", "grp", "pwd", "tty"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "SIGQUIT"):
    delattr(signal, name)
for name in ("wait4", "memfd_create", "fork", "getuid", "major", "killpg"):
    delattr(os, name)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
from mggr_edge.cli import main
main(["--version"], standalone_mode=False)
"""


@pytest.mark.processes
def test_every_module_can_be_imported_without_unix() -> None:
    names = [m.name for m in pkgutil.walk_packages(mggr_edge.__path__, "mggr_edge.")]
    assert len(names) > 100
    done = subprocess.run(
        [sys.executable, "-c", UNIX_ONLY, json.dumps(names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=["win32", "darwin"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "platform", request.param)
    return str(request.param)


def test_a_camera_has_a_number_on_every_system(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert input_address("0") == input_address("camera://0") == Address("camera", "0")
    assert input_address("CAMERA://12") == Address("camera", "12")
    assert live_address("3") == LiveAddress("camera", "3")
    assert str(live_address("3")) == "camera://3"
    (tmp_path / "0").touch()
    assert input_address("0") == Address("file", "0")
    with refusal(UsageError, "input-not-valid", address="camera://", closest="camera://0"):
        input_address("camera://")
    with refusal(UsageError, "input-not-valid", address="camera://front", closest=None):
        input_address("camera://front")


def test_on_linux_a_number_is_a_video_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert live_address("camera://2") == LiveAddress("v4l2", "/dev/video2")


class Camera:
    """In the place of `cv2.VideoCapture`: cameras 0 and 1, which only one interface opens."""

    opens: ClassVar[int] = cv2.CAP_DSHOW
    tried: ClassVar[list[tuple[int, int]]] = []
    released: ClassVar[int] = 0

    def __init__(self, place: int, api: int) -> None:
        self.tried.append((place, api))
        self.is_open = place < 2 and api in (self.opens, cv2.CAP_AVFOUNDATION)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.is_open

    def set(self, setting: int, value: float) -> bool:
        return True

    def get(self, setting: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}.get(setting, 0)

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None:
        type(self).released += 1


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setattr(cameras.cv2, "VideoCapture", Camera)
    Camera.tried.clear()
    Camera.released = 0
    return Camera


def test_a_camera_is_opened_by_an_interface_of_the_system(
    system: str, camera: type[Camera]
) -> None:
    capture = CameraCapture(LiveAddress("camera", "1"), CameraFormat())
    frame = capture.read()
    assert frame is not None
    assert frame.shape == (480, 640, 3)
    apis = {"win32": [cv2.CAP_MSMF, cv2.CAP_DSHOW], "darwin": [cv2.CAP_AVFOUNDATION]}[system]
    assert camera.tried == [(1, api) for api in apis]
    assert camera.released == len(apis) - 1
    with refusal(StreamError, "camera-open-failed", address="camera://7"):
        CameraCapture(LiveAddress("camera", "7"), CameraFormat())


def test_cameras_are_listed_by_opening_them(system: str, camera: type[Camera]) -> None:
    found = (FoundCamera("camera://0", "640 x 480"), FoundCamera("camera://1", "640 x 480"))
    assert list_cameras() == found
    assert camera.released == len(camera.tried)
    shown = CliRunner().invoke(main, ["cameras"])
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == ["camera://0  640 x 480", "camera://1  640 x 480"]
    check = check_cameras(Machine(system=system))
    assert (check.state, check.fix) == ("ok", "mggr-edge cameras")


def test_linux_lists_cameras_without_opening_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: type[Camera]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cameras, "_SYSFS", tmp_path)
    assert list_cameras() == ()
    for number, index, name in ((10, "0", "OBS"), (2, "0", "USB camera"), (3, "1", "metadata")):
        folder = tmp_path / f"video{number}"
        folder.mkdir()
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text(f"{name}\n")
    (tmp_path / "video-x").mkdir()
    expected = (FoundCamera("/dev/video2", "USB camera"), FoundCamera("/dev/video10", "OBS"))
    assert list_cameras() == expected
    assert camera.tried == []


def test_a_virtual_camera_of_the_system_is_named(system: str) -> None:
    assert output_address("virtual-camera://") == Address("virtual-camera")
    output = sinks.live_output("virtual-camera://")
    assert (output.name, output.device) == ("the virtual camera", None)  # type: ignore[attr-defined]
    assert sinks.is_shown("virtual-camera://")
    assert "OBS" in sinks._virtual_camera_fix(None)
    with refusal(UsageError, "output-not-valid", closest="virtual-camera://"):
        output_address("virtual-camera://OBS")


def test_folders_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folders.config_home() == tmp_path / "Library/Application Support"
    assert folders.cache_home() == tmp_path / "Library/Caches"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert folders.config_home() == tmp_path / "Local"
    assert folders.cache_home() == tmp_path / "Local/Cache"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    assert folders.config_home() == tmp_path / "mine"


def test_windows_renames_without_replacing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(atomic.ctypes, "CDLL", None)  # Windows has no C library without a name.

    def rename(self: Path, target: Path) -> None:
        if target.exists():  # Unix would replace the file.
            raise FileExistsError(str(target))
        target.write_bytes(self.read_bytes())
        self.unlink()

    monkeypatch.setattr(Path, "rename", rename)
    with atomic.atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("first")
    assert (tmp_path / "a.txt").read_text() == "first"
    with (
        refusal(OutputExistsError, "output-exists"),
        atomic.atomic_file(tmp_path / "b.txt") as temporary,
    ):
        temporary.write_text("second")
        (tmp_path / "b.txt").write_text("of another process")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "b.txt").read_text() == "of another process"


def test_the_content_is_flushed_through_a_writable_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows refuses to flush a file that is open for reading only."""
    flags = []
    fsync = atomic.os.fsync
    fcntl = pytest.importorskip("fcntl")

    def flush(number: int) -> None:
        flags.append(fcntl.fcntl(number, fcntl.F_GETFL) & atomic.os.O_RDWR)
        fsync(number)

    monkeypatch.setattr(atomic.os, "fsync", flush)
    with atomic.atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("first")
    assert flags == [atomic.os.O_RDWR]


def test_devices_without_a_number_are_no_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(atomic.os, "major")
    assert path_type("/dev/null") == "character device"


def test_memory_is_read_with_psutil_where_there_is_no_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "_STATUS", tmp_path / "absent")
    memory = SimpleNamespace(rss=5_000_000)
    psutil = SimpleNamespace(Process=lambda: SimpleNamespace(memory_info=lambda: memory))
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    assert process.resident_mb() == 5.0
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert process.resident_mb() is None


def test_signals_that_windows_lacks_are_not_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HANGUP", None)
    monkeypatch.setattr(process, "SIGNALS", (process.signal.SIGTERM,))
    before = process.signal.getsignal(process.signal.SIGHUP)
    stop = process.threading.Event()
    with process.ended_by_signals(), process.stopped_by_signals(stop):
        assert process.signal.getsignal(process.signal.SIGHUP) is before
        process.signal.raise_signal(process.signal.SIGTERM)
        assert stop.is_set()


@pytest.mark.processes
def test_a_process_ends_without_wait4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pipeline.os, "wait4")
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert pipeline._ended(running) is None
    running.communicate(b"\n")
    assert pipeline._ended(running) == (None,)
    assert running.returncode == 0

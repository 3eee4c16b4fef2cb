import hashlib
import sys
from pathlib import Path

import pytest

from mggr_edge.errors import MissingPackageError
from mggr_edge.models import installed as landmark_models
from mggr_edge.models.installed import LANDMARK_MODEL_FILES, find_landmark_models
from refusals import refusal


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the wheel's layout that fails when it is imported; returns its data folder."""
    name = "mggr_fake_wheel"
    data = tmp_path / name / "data"
    data.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("raise AssertionError('was imported')\n")
    for file in LANDMARK_MODEL_FILES.values():
        (data / file).write_bytes(b"model")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(landmark_models, "_PACKAGE", name)
    digest = hashlib.sha256(b"model").hexdigest()
    monkeypatch.setattr(landmark_models, "_SHA256", dict.fromkeys(LANDMARK_MODEL_FILES, digest))
    return data


def test_finds_the_files_without_importing_their_package(package: Path) -> None:
    assert find_landmark_models() == {
        "face_detector": package / "face_detection_full_range.tflite",
        "face_mesh": package / "face_landmark.tflite",
        "iris": package / "iris_landmark.tflite",
    }
    assert "mggr_fake_wheel" not in sys.modules


def test_a_missing_file_is_named(package: Path) -> None:
    (package / "iris_landmark.tflite").unlink()
    with refusal(MissingPackageError, "face-model-missing", path=package / "iris_landmark.tflite"):
        find_landmark_models()


def test_another_version_s_file_is_refused(package: Path) -> None:
    (package / "face_landmark.tflite").write_bytes(b"newer")
    with refusal(
        MissingPackageError, "face-model-version-wrong", path=package / "face_landmark.tflite"
    ):
        find_landmark_models()


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmark_models, "_PACKAGE", "mggr_no_such_package")
    command = "mggr-edge setup"
    with refusal(MissingPackageError, "face-models-not-installed", command=command) as caught:
        find_landmark_models()
    assert "bundle" in str(caught.value)
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)

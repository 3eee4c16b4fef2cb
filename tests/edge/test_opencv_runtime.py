"""OpenCV 5 runs the face models and ONNX files, where no other runtime is installed.

The tests that run models need OpenCV 5. The others replace the function that reports its version.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mggr_edge.errors import BundleError, MissingPackageError
from mggr_edge.models import runtimes as all_of
from mggr_edge.models.contract import Artifact
from mggr_edge.models.installed import (
    LANDMARK_MODEL_FILES,
    find_landmark_models,
    landmark_artifact,
)
from mggr_edge.models.runtimes import onnx, open_artifact, opencv, runnable, runtimes, tflite
from refusals import refusal

FIVE = {"opencv": "5.0.0"}
LITERT, ORT = {"ai-edge-litert": "2.3.0"}, {"onnxruntime": "1.30.0"}
TFLITE_FILE = Artifact("models/one.tflite", "tflite", "float32", "")
ONNX_FILE = Artifact("models/one.onnx", "onnx", "float32", "")

needs_five = pytest.mark.skipif(not opencv.available(), reason="needs OpenCV 5")


@pytest.fixture
def installed(monkeypatch):
    def install(*, tflite_ones=(), onnx_ones=(), opencv_ones=()):
        monkeypatch.setattr(tflite, "available_interpreters", lambda: dict(tflite_ones))
        monkeypatch.setattr(onnx, "available_runtimes", lambda: dict(onnx_ones))
        monkeypatch.setattr(opencv, "available", lambda: dict(opencv_ones))

    return install


@pytest.mark.parametrize(
    ("version", "expected"), [("4.13.0", {}), ("5.0.0", FIVE), ("5.1-dev", {"opencv": "5.1-dev"})]
)
def test_opencv_counts_from_version_5(monkeypatch, version, expected):
    monkeypatch.setattr(opencv.cv2, "__version__", version)
    assert opencv.available() == expected


def test_opencv_comes_last_and_runs_only_what_it_can(installed):
    installed(tflite_ones=LITERT, onnx_ones=ORT, opencv_ones=FIVE)
    assert runtimes("tflite", model="redirector") == LITERT
    assert list(runtimes("tflite", model="face_mesh")) == ["ai-edge-litert", "opencv"]
    assert list(runtimes("onnx", model="redirector")) == ["onnxruntime", "opencv"]
    assert all_of.all_runtimes() == LITERT | ORT | FIVE


def test_the_file_for_the_best_runtime_is_chosen(installed):
    both = (TFLITE_FILE, ONNX_FILE)
    installed(tflite_ones=LITERT, onnx_ones=ORT, opencv_ones=FIVE)
    assert runnable(both, model="redirector") is TFLITE_FILE
    installed(onnx_ones=ORT, opencv_ones=FIVE)
    assert runnable(both, model="redirector") is ONNX_FILE
    installed(opencv_ones=FIVE)
    assert runnable(both, model="redirector") is ONNX_FILE
    assert runnable((TFLITE_FILE,), model="iris") is TFLITE_FILE
    with refusal(MissingPackageError, "missing-package"):
        runnable((TFLITE_FILE,), model="redirector")
    installed()
    with refusal(MissingPackageError, "missing-package"):
        runnable(both, model="redirector")


def test_an_absent_opencv_is_refused(installed):
    installed(tflite_ones=LITERT)
    with refusal(MissingPackageError, "missing-package", package=opencv.WHAT):
        open_artifact(TFLITE_FILE, b"", runtime="opencv")


def test_the_specs_of_the_face_models_are_those_of_their_files():
    for name, path in find_landmark_models().items():
        artifact = landmark_artifact(name)
        assert path.name == artifact.file
        if not tflite.available_interpreters():
            continue
        runner = tflite.TFLiteRunner(path.read_bytes())
        assert runner.tensor_specs("inputs") == artifact.inputs
        assert runner.tensor_specs("outputs") == artifact.outputs


@needs_five
@pytest.mark.skipif(not tflite.available_interpreters(), reason="needs a TFLite interpreter")
@pytest.mark.parametrize("name", LANDMARK_MODEL_FILES)
def test_face_models_give_the_same_values(name):
    artifact, content = landmark_artifact(name), find_landmark_models()[name].read_bytes()
    ours, theirs = (open_artifact(artifact, content, runtime=one) for one in ("opencv", None))
    for seed in range(2):  # The second call finds the memory of the first.
        rng = np.random.default_rng(seed)
        inputs = {s.name: rng.random(s.shape, np.float32) for s in artifact.inputs}
        made, expected = ours(inputs), theirs(inputs)
        assert set(made) == set(expected)
        for output, value in expected.items():
            assert made[output].shape == value.shape
            np.testing.assert_allclose(made[output], value, atol=1e-3)
    kept = made[output].copy()
    ours({name: np.zeros_like(value) for name, value in inputs.items()})
    np.testing.assert_array_equal(made[output], kept)  # The caller owns the results.


@needs_five
def test_a_closed_network_and_wrong_inputs_are_refused():
    artifact, content = landmark_artifact("iris"), find_landmark_models()["iris"].read_bytes()
    runner = open_artifact(artifact, content, runtime="opencv")
    inputs = {"input_1": np.zeros((1, 64, 64, 3), np.float32)}
    with pytest.raises(ValueError, match="float32"):
        runner({"input_1": np.zeros((1, 64, 64, 3), np.float64)})
    runner.close()
    with pytest.raises(ValueError, match="closed"):
        runner(inputs)


@needs_five
@pytest.mark.parametrize("file_format", ["tflite", "onnx"])
def test_damaged_files_are_refused(file_format):
    artifact = dataclasses.replace(landmark_artifact("iris"), format=file_format)
    with refusal(BundleError, "opencv-model-not-loadable"):
        open_artifact(artifact, b"no model" * 100, runtime="opencv")


@needs_five
def test_another_output_shape_is_refused():
    artifact = landmark_artifact("iris")
    first, second = artifact.outputs
    wrong = dataclasses.replace(
        artifact, outputs=(dataclasses.replace(first, shape=(1, 9)), second)
    )
    content = find_landmark_models()["iris"].read_bytes()
    with refusal(BundleError, "opencv-output-shape-wrong", expected=(1, 9), found=(1, 213)):
        open_artifact(wrong, content, runtime="opencv")

"""Exports: what stands in a bundle, and what a device makes of it."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge import Bundle, Gaze
from mggr_edge.errors import ArtifactError
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_export.exporting.labels import read_label
from mggr_export.eyes.export_eyes import CALIBRATION_PAIRS, PARITY_PAIRS
from mggr_export.formats.keras_models import freeze, models_of_run
from mggr_export.formats.tflite import convert
from mggr_export.formats.tflite.graph import (
    CONVOLUTIONS,
    check_structure,
    metadata_of,
    op_counts,
    read_graph,
    with_metadata,
)
from refusals import refusal

pytestmark = pytest.mark.extended

FILES = {
    "LICENCES.txt",
    "contract.json",
    "landmarks/face_detection_full_range.tflite",
    "landmarks/face_landmark.tflite",
    "landmarks/iris_landmark.tflite",
    "models/estimator.tflite",
    "models/redirector.tflite",
    "reference/estimator.npz",
    "reference/redirector.npz",
}


def graph_of(bundle, model="redirector"):
    return read_graph((bundle / "models" / f"{model}.tflite").read_bytes())


def parity_of(bundle, model="redirector"):
    (artifact,) = Bundle.open(bundle).contract.models[model]
    return {p.output: p for p in artifact.parity}


def test_a_bundle_holds_all_that_a_device_needs(float_bundle):
    path, said = float_bundle
    assert set(read_bundle_files(path)) == FILES
    contract = Bundle.open(path).contract
    assert set(contract.models) == {"redirector", "estimator", "face_detector", "face_mesh", "iris"}
    redirector = contract.models["redirector"][0]
    assert {s.name: s.shape for s in redirector.inputs} == {
        "eye": (1, 64, 64, 3),
        "gazemap": (1, 64, 64, 2),
        "delta": (1, 2),
        "head_pose": (1, 2),
    }
    outputs = {one.name: one for one in redirector.outputs}
    assert list(outputs) == ["alpha", "coarse", "flow", "redirected", "residual"]
    assert outputs["redirected"].range == (-1.0, 1.0)
    assert outputs["alpha"].range == (0.0, 1.0)
    assert contract.models["iris"][0].licence.startswith("Apache-2.0")
    assert contract.models["face_detector"][0].precision == "float16"
    assert contract.training.data == "synthetic"
    assert contract.training.stages == {"estimator": 3, "coarse": 3, "joint": 3}
    assert {"mggr-tf", "tensorflow", "numpy", "python"} <= set(contract.versions)
    assert "median flow" in said


@pytest.mark.parametrize("kind", ["float_bundle", "int8_bundle"])
def test_a_file_says_what_it_is_without_its_bundle(kind, request):
    path = request.getfixturevalue(kind)[0]
    for model in ("redirector", "estimator"):
        label = read_label((path / "models" / f"{model}.tflite").read_bytes(), "tflite")
        assert label["model"] == model
        assert label["conventions"]["delta_scale_deg"] == [10.0, 15.0]
        assert label["licence"] == "Apache-2.0 (drawn by mggr-tf)"
    landmarks = (path / "landmarks" / "iris_landmark.tflite").read_bytes()
    assert read_label(landmarks, "tflite") == {}


def test_a_label_changes_nothing_else_and_is_replaced(float_bundle):
    content = (float_bundle[0] / "models" / "estimator.tflite").read_bytes()
    again = with_metadata(with_metadata(content, "mggr", "one"), "mggr", "two")
    assert metadata_of(again) == metadata_of(content) | {"mggr": "two"}
    assert read_graph(again) == read_graph(content)


def test_float_agrees_with_keras_on_a_real_flow(float_bundle):
    path, said = float_bundle
    parity = parity_of(path)
    assert all(p.max_abs <= 1e-4 and p.pairs == PARITY_PAIRS == 256 for p in parity.values())
    assert parity_of(path, "estimator")["gaze"].max_abs <= 1e-4
    assert float(re.search(r"median flow ([\d.]+) px", said)[1]) >= 1


def test_float_has_builtin_ops_and_a_flattened_gather(float_bundle):
    graph = graph_of(float_bundle[0])
    check_structure(graph, precision="float32")
    counts = op_counts(graph)
    # Neighbours are laid side by side, then a bicubic read takes four lines of four pixels.
    assert counts["GATHER"] == 1 + 4
    assert not {"GATHER_ND", "CUSTOM", "DEQUANTIZE", "QUANTIZE"} & set(counts)


def test_float16_halves_the_weights_and_agrees(fp16_bundle, float_bundle):
    path, _ = fp16_bundle
    assert path.name == "bundle-fp16"
    check_structure(graph_of(path), precision="float16")
    assert parity_of(path)["redirected"].psnr_db >= 55
    assert Bundle.open(path).contract.models["redirector"][0].precision == "float16"
    with refusal(ArtifactError, "weights-not-float16"):
        check_structure(graph_of(float_bundle[0]), precision="float16")


def test_int8_quantises_every_convolution_and_nothing_of_the_warp(int8_bundle):
    graph = graph_of(int8_bundle[0])
    convolutions = [op for op in graph.ops if op.kind in CONVOLUTIONS]
    assert {graph.tensors[i].dtype for op in convolutions for i in op.inputs[:2]} == {"int8"}
    warp = graph.tail()
    assert {"GATHER", "FLOOR", "CAST", "SUB", "MINIMUM"} <= {op.kind for op in warp}
    assert {t.dtype for t in graph.made_by(warp)} == {"float32", "int32"}
    ends = [graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)]
    assert set(ends) == {"float32"}


def test_int8_agrees_with_keras_and_says_how_it_was_calibrated(int8_bundle):
    path, _ = int8_bundle
    parity = parity_of(path)
    assert parity["redirected"].psnr_db >= 30
    assert parity["flow"].mean_abs <= 0.15
    contract = Bundle.open(path).contract
    assert contract.models["redirector"][0].precision == "int8"
    calibration = contract.models["redirector"][0].build["calibration"]
    assert calibration["pairs"] == CALIBRATION_PAIRS >= 300
    assert calibration["data"] == "synthetic, seed 3"
    assert len(calibration["subjects"]) == 1  # of two people; the other one is compared
    opening = contract.models["redirector"][0].opening
    assert opening.region == "lids"
    assert opening.psnr_db >= 25


@pytest.mark.parametrize("kind", ["float_bundle", "fp16_bundle", "int8_bundle"])
def test_a_device_redirects_with_it(kind, request):
    bundle = Bundle.open(request.getfixturevalue(kind)[0])
    patch = np.random.default_rng(1).integers(60, 200, (64, 64, 3), np.uint8)
    made = bundle.redirect_eye(patch, side="left", target=Gaze(5, -10))
    assert made.shape == (64, 64, 3)
    assert np.abs(made.astype(int) - patch).mean() > 1


def test_checksums_cover_the_contract(float_bundle):
    contract = (float_bundle[0] / "contract.json").read_bytes()
    sums = (float_bundle[0] / "SHA256SUMS").read_text()
    assert f"{hashlib.sha256(contract).hexdigest()}  contract.json" in sums


def test_licences_name_the_training_data_s_terms(float_bundle):
    text = (float_bundle[0] / "LICENCES.txt").read_text()
    assert "Apache-2.0 (drawn by mggr-tf)" in text
    assert "MediaPipe" in text


@pytest.mark.slow
def test_plain_quantisation_takes_the_warp_with_it_and_is_refused(run, monkeypatch):
    redirector = models_of_run(run)["redirector"]
    nothing = tf.lite.experimental.QuantizationDebugOptions()
    monkeypatch.setattr(convert, "_all_but_the_tail", lambda calibrated, spared: nothing)
    rng = np.random.default_rng(1)
    noise = {
        tensor.name: rng.uniform(-1, 1, (20, *tensor.shape[1:])).astype(np.float32)
        for tensor in redirector.inputs
    }
    content = convert.convert_int8(freeze(redirector), noise)
    with refusal(ArtifactError, "tail-not-float", found="int8"):
        check_structure(read_graph(content), precision="int8")

"""Formats beside TFLite and ONNX: SavedModels, and the recipe for TensorRT."""

import json
import zipfile

import numpy as np
import pytest

from mggr_edge import Bundle, Gaze
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import ArtifactError, BundleError, MissingPackageError
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.runtimes import runnable
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.labels import read_label
from mggr_export.exporting.request import ExportRequest
from mggr_export.exporting.verify import verify_bundle
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import models_of_run
from mggr_export.formats.saved_model import pack
from refusals import refusal

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """A float16 bundle with a SavedModel beside ONNX, and a recipe for engines."""
    request = ExportRequest("float16", formats=("saved_model", "onnx"), engine_recipe=True)
    said = []
    out = tmp_path_factory.mktemp("formats") / "bundle"
    export_run(run, out, request, progress=no_progress, notify=said.append)
    return out, "\n".join(said)


def test_a_saved_model_is_what_keras_is_and_stays_float32(served):
    path, said = served
    assert "redirector as saved_model: float32" in said
    for formats in Bundle.open(path).contract.models.values():
        if len(formats) == 2:
            saved, onnx = formats
            assert (saved.format, saved.precision) == ("saved_model", "float32")
            assert (onnx.format, onnx.precision) == ("onnx", "float16")
            assert all(parity.max_abs < 1e-4 for parity in saved.parity)
            assert {spec.shape[0] for spec in saved.inputs} == {1}


def test_its_label_and_its_folder(served, tmp_path):
    content = (served[0] / "models" / "redirector.saved_model.zip").read_bytes()
    assert read_label(content, "saved_model")["model"] == "redirector"
    with zipfile.ZipFile(served[0] / "models" / "redirector.saved_model.zip") as archive:
        names = set(archive.namelist())
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert names >= {"saved_model.pb", "variables/variables.index", "assets.extra/mggr"}
    assert "fingerprint.pb" not in names


def test_devices_pass_it_over(served):
    bundle = Bundle.open(served[0])
    assert runnable(bundle.contract.models["redirector"], model="redirector").format == "onnx"


def test_verify_runs_it(served, eyes):
    proofs = verify_bundle(
        served[0], data=str(eyes), pairs=4, progress=no_progress, notify=lambda text: None
    )
    assert set(proofs) == {
        f"{model}.{suffix}"
        for model in ("redirector", "estimator")
        for suffix in ("saved_model.zip", "onnx")
    }
    assert not [proof.faults for proof in proofs.values() if proof.faults]


def test_no_other_precision(run):
    model = models_of_run(run)["estimator"]
    saved = model_format("saved_model")
    fields = {"format": "SavedModel", "supported": "float32"}
    with refusal(ArtifactError, "precision-not-supported", precision="float16", **fields):
        saved.float16(model, batch=1)
    with refusal(ArtifactError, "precision-not-supported", precision="int8", **fields):
        saved.check_structure(pack({"saved_model.pb": b""}), "int8")
    with refusal(ArtifactError, "saved-model-without-graph", file="saved_model.pb"):
        saved.check_structure(pack({"else": b""}), "float32")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK nothing", "saved-model-zip-invalid"),
        (pack({"saved_model.pb": b"no graph"}), "saved-model-invalid"),
    ],
)
def test_what_is_no_saved_model(content, code):
    with refusal(BundleError, code):
        model_format("saved_model").open(content)


def test_a_path_that_leaves_the_folder():
    with refusal(BundleError, "saved-model-path-outside", name="../out"):
        model_format("saved_model").open(pack({"../out": b""}))


def test_the_recipe_says_what_every_tensorrt_is_asked_for(served):
    path = served[0]
    recipe = json.loads(read_bundle_files(path)["tensorrt.json"])
    assert set(recipe) == {"redirector", "estimator"}
    one = recipe["redirector"]
    assert (one["file"], one["precision"]) == ("models/redirector.onnx", "float16")
    assert one["inputs"]["eye"] == {"shape": [1, 64, 64, 3], "dtype": "float32"}
    old, new = one["tensorrt"].values()
    assert list(one["tensorrt"]) == ["from 8.5 to before 10.0", "from 10.0"]
    assert (old["builder_flags"], old["strongly_typed"]) == (["FP16"], False)
    assert (new["builder_flags"], new["strongly_typed"]) == ([], True)
    command = "trtexec --onnx=models/redirector.onnx --saveEngine=redirector.engine"
    assert old["command"] == f"{command} --fp16"
    assert new["command"] == f"{command} --stronglyTyped"


def test_bundles_without_it_have_no_recipe(float_bundle):
    assert not (float_bundle[0] / "tensorrt.json").exists()


def test_a_missing_package_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr("mggr_export.formats.find_spec", lambda name: None)
    with refusal(MissingPackageError, "missing-package", package="ONNX"):
        model_format("onnx")


def test_the_redirection_is_the_same(served, float_bundle):
    patch = np.random.default_rng(6).integers(0, 256, (64, 64, 3), np.uint8)
    made = [
        Bundle.open(path).redirect_eye(patch, side="right", target=Gaze(4, 9))
        for path in (served[0], float_bundle[0])
    ]
    assert np.abs(made[0].astype(int) - made[1]).mean() < 1

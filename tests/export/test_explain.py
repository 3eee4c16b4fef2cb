"""Which layers' integers cost how much."""

from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.errors import ArtifactError, UsageError
from mggr_edge.models.runtimes.runner import check_inputs
from mggr_export.exporting.request import ExportRequest
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import models_of_run, outputs_of
from mggr_export.formats.model_format import Dissection
from mggr_export.proofs.explain import explain, explained_text
from mggr_tf.cli import main
from refusals import refusal

LAYERS = ("clean", "dirty", "alike")


class Rounded:
    """A file that adds each layer's error to the picture: the content names those that do."""

    ERRORS: ClassVar = {"clean": 0.001, "dirty": 0.1, "alike": 0.0}

    def __init__(self, content):
        self.rounded = content.decode().split(",")

    def tensor_specs(self, kind):
        from mggr_edge.models.contract import TensorSpec

        return (TensorSpec("eye", (1, 4), "float32"),)

    def __call__(self, inputs):
        check_inputs(inputs, self.tensor_specs("inputs"))
        error = sum(self.ERRORS[name] for name in self.rounded if name)
        return {"redirected": inputs["eye"] + np.float32(error)}


def outputs(content, inputs):
    off = 0.1 if b"dirty" in content else 0.0
    return {"clean": inputs["eye"], "dirty": inputs["eye"] + np.float32(off)}


def test_the_dearest_layer_comes_first():
    opened = Dissection(
        quantised=",".join(LAYERS).encode(),
        reference=b"",
        layers=LAYERS,
        spared=lambda layer: ",".join(one for one in LAYERS if one != layer).encode(),
        runner=Rounded,
        outputs=outputs,
    )
    eye = np.ones((3, 4), np.float32)
    seen = []
    costs = explain(opened, {"redirected": eye}, {"eye": eye}, advance=seen.append)
    assert [cost.layer for cost in costs] == ["dirty", "clean", "alike"]
    # From an error of 0.101 to one of 0.001, and to 0.1.
    assert costs[0].gain_db == pytest.approx(20 * np.log10(101), abs=0.1)
    assert costs[1].gain_db == pytest.approx(20 * np.log10(1.01), abs=0.01)
    assert costs[2].gain_db == pytest.approx(0)
    assert costs[0].sqnr_db == pytest.approx(20, abs=0.1)
    assert costs[1].sqnr_db == np.inf
    assert len(seen) == 3
    rows = explained_text("redirector.tflite", costs).splitlines()[2:]
    assert [row.split()[-1] for row in rows] == ["dirty", "clean", "alike"]
    assert rows[0].split()[:4] == ["+40.09", "dB", "20.0", "dB"]


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["tflite", "onnx"])
def test_real_files_are_laid_open(run, file_format):
    model = models_of_run(run)["redirector"]
    rng = np.random.default_rng(1)
    inputs = {
        tensor.name: rng.uniform(-1, 1, (12, *tensor.shape[1:])).astype(np.float32)
        for tensor in model.inputs
    }
    dissection = model_format(file_format).dissect(model, inputs, batch=1)
    costs = explain(dissection, outputs_of(model, inputs), inputs)
    assert any("coarse_branch/encode0" in cost.layer for cost in costs)
    assert any("residual_head" in cost.layer for cost in costs)
    # Integers of eight bits: every layer's own output is clean to a few percent.
    assert all(10 < cost.sqnr_db < 80 for cost in costs if np.isfinite(cost.sqnr_db))
    # Sparing one layer of many changes the picture by little, either way.
    gains = [cost.gain_db for cost in costs]
    assert max(gains) > 0
    assert all(abs(gain) < 12 for gain in gains)
    assert gains == sorted(gains, reverse=True)


@pytest.mark.extended
def test_what_has_no_int8_has_nothing_to_explain(run):
    with refusal(ArtifactError, "precision-not-supported", format="SavedModel", precision="int8"):
        model_format("saved_model").dissect(models_of_run(run)["estimator"], {}, batch=1)
    with refusal(UsageError, "explain-without-int8", precision="float16"):
        ExportRequest("float16", explain=True)


@pytest.mark.slow
def test_the_command_prints_a_table_for_every_int8_file(run, eyes, tmp_path):
    words = ["export", run.path, "--int8", "--explain", "--data", eyes, "--out", tmp_path / "b"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "redirector.tflite: PSNR gain" in result.stderr
    assert "estimator.tflite: PSNR gain" in result.stderr

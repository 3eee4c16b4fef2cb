"""What a bundle states of a run that was started from other runs."""

import json
import re
import shutil

import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.models.bundle import Bundle
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.labels import licences_text, read_label
from mggr_export.exporting.request import ExportRequest
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import UNKNOWN_DONORS, DataRecord, Origin, StageRecord

PHOTOGRAPHED = DataRecord("/data/photos", ("0001", "0002"), (), 9, "research only")
CHANGED = DataRecord("/data/later", ("0007",), (), 9, "for a fee")


def exported(run, out, request=None, notify=print):
    path = export_run(run, out, request or ExportRequest(), progress=no_progress, notify=notify)
    return path, Bundle.open(path).contract


@pytest.fixture
def descendant(run, tmp_path):
    """The drawn run, started from a run of photographs whose data changed meanwhile."""
    donor = RunFolder.create(tmp_path / "donor", run.config, PHOTOGRAPHED)
    shutil.copytree(run.path / "weights", donor.path / "weights", dirs_exist_ok=True)
    donor.note_data(CHANGED, change="other people")
    middle = RunFolder.create(tmp_path / "middle", run.config, CHANGED)
    adopt(middle, donor, stage="joint")
    made = RunFolder.create(tmp_path / "made", run.config, run.record.data)
    adopt(made, middle, stage="joint")
    for stage in ("estimator", "coarse", "joint"):
        made.update_stage(stage, StageRecord(steps=3, done=3, complete=True))
    return RunFolder.open(made.path)


@pytest.mark.extended
def test_a_bundle_states_the_data_of_all_donors(descendant, tmp_path, converted_before):
    path, contract = exported(descendant, tmp_path / "bundle")
    drawn = descendant.record.data.licence
    assert contract.training.licence == f"{drawn}; for a fee; research only"
    assert contract.training.data == "synthetic, later, photos"
    assert {*contract.training.subjects} >= {"0001", "0002", "0007", "drawn-3-00000"}
    text = (path / "LICENCES.txt").read_text()
    for data, licence in (("synthetic", drawn), ("later", "for a fee"), ("photos", "research")):
        assert re.search(rf": {data}\n.*: {re.escape(licence)}", text)
    ours = [contract.models["redirector"][0], *contract.references.values()]
    assert {artifact.licence for artifact in ours} == {contract.training.licence}
    model = (path / contract.models["redirector"][0].file).read_bytes()
    assert read_label(model, "tflite")["licence"] == contract.training.licence
    assert str(tmp_path) not in json.dumps(text + (path / "contract.json").read_text())


@pytest.mark.extended
def test_a_record_of_an_earlier_version_permits_nothing_more(
    descendant, tmp_path, converted_before
):
    file = descendant.path / "run.json"
    record = json.loads(file.read_text())
    del record["origins"]
    file.write_text(json.dumps(record))
    path, contract = exported(RunFolder.open(descendant.path), tmp_path / "bundle")
    assert contract.training.licence.endswith(UNKNOWN_DONORS)
    assert UNKNOWN_DONORS in (path / "LICENCES.txt").read_text()


def test_the_licences_of_one_source_stand_once():
    one, other = (Origin(run, "photos", "research only", ()) for run in ("a", "b"))
    text = licences_text([one, other])
    assert text.count("research only") == 1
    assert "All of these terms" not in text
    assert "All of these terms" in licences_text([one], complete=False)


@pytest.mark.slow
def test_eyes_that_weights_were_fitted_on_are_data_too(run, eyes, tmp_path):
    pytest.importorskip("tensorflow_model_optimization")
    shutil.copytree(eyes, tmp_path / "photos")
    request = ExportRequest("int8", qat_steps=2, calibration=str(tmp_path / "photos"))
    _, contract = exported(run, tmp_path / "bundle", request)
    assert contract.training.data == "synthetic, photos"
    assert contract.training.licence.endswith(
        "Columbia Gaze Data Set: non-commercial research only"
    )
    assert {"0000", "0001"} < {*contract.training.subjects}

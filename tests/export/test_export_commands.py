"""`mggr-tf export` as it is typed, and typed wrongly."""

import json
import resource
import shutil
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_export.exporting.request import ExportRequest, samples_for_export
from mggr_tf.cli import main
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import error_of, refusal

pytestmark = pytest.mark.extended


def export(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


@pytest.fixture
def runs(run, tmp_path, monkeypatch):
    """A working folder with runs/tiny, without bundles."""
    monkeypatch.chdir(tmp_path)
    ignored = shutil.ignore_patterns("bundle*")
    return shutil.copytree(run.path, tmp_path / "runs" / "tiny", ignore=ignored)


def test_the_newest_run_gives_the_same_bytes_again_under_the_next_name(runs, float_bundle):
    (runs / "bundle-float").mkdir()
    result = export()
    assert result.exit_code == 0, result.output
    assert "run: runs/tiny (the newest complete" in result.stderr
    assert result.stdout == "runs/tiny/bundle-float-2\n"
    assert read_bundle_files(runs / "bundle-float-2") == read_bundle_files(float_bundle[0])


def test_no_run_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error_of(export(), "no-complete-run", path="runs")


def test_a_missing_run(tmp_path):
    error_of(export(tmp_path / "gone"), "not-a-run", path=tmp_path / "gone")


def test_an_incomplete_run(runs):
    RunFolder.open(runs).update_stage("joint", StageRecord(steps=50, done=20))
    result = export(runs, "--out", runs / "b")
    fields = {"path": runs, "stage": "joint", "done": 20, "steps": 50}
    error = error_of(result, "stage-incomplete", **fields)
    assert "mggr-tf train --stage joint" in str(error)
    assert not (runs / "b").exists()


def test_a_run_without_weights(runs):
    (runs / "weights" / "coarse.npz").unlink()
    result = export(runs, "--out", runs.parent / "b")
    error_of(result, "no-redirector", path=runs)
    assert [path.name for path in runs.parent.iterdir()] == ["tiny"]


def test_a_named_bundle_that_exists(runs):
    (runs / "b").mkdir()
    error_of(export(runs, "--out", runs / "b"), "output-exists", path=runs / "b")


def test_force_replaces_bundles_only(runs):
    result = export(runs, "--out", runs / "weights", "--force")
    error_of(result, "force-not-a-bundle", path=runs / "weights")
    assert (runs / "weights" / "coarse.npz").is_file()


@pytest.mark.usefixtures("converted_before")
def test_force_replaces_a_bundle(runs, float_bundle, eyes):
    shutil.copytree(float_bundle[0], runs / "b")
    (runs / "b" / "old.txt").write_text("old")
    result = export(runs, "--data", eyes, "--out", runs / "b", "--force")
    assert result.exit_code == 0, result.output
    assert not (runs / "b" / "old.txt").exists()


def test_no_folder_to_write_in(runs):
    result = export(runs, "--out", runs / "no" / "b")
    error_of(result, "output-folder-missing", path=runs / "no" / "b", folder=runs / "no")


def test_a_named_data_folder_that_is_gone(runs):
    result = export(runs, "--data", "gone", "--out", runs / "b")
    error_of(result, "source-missing", path="gone")
    assert not list(runs.glob("b*"))


def test_the_run_s_own_data_is_gone(tmp_path, run):
    record = DataRecord(str(tmp_path / "moved"), ("0001",), (), 9, "research only")
    moved = RunFolder.create(tmp_path / "run", run.config, record)
    with refusal(DataError, "training-data-missing", source=tmp_path / "moved"):
        chosen_samples(moved, ExportRequest("int8"))


def test_what_calibrates_also_compares_where_the_run_s_own_data_is_gone(tmp_path, run, eyes):
    record = DataRecord(str(tmp_path / "moved"), ("0000", "0001"), (), 9, "research only")
    moved = RunFolder.create(tmp_path / "run", run.config, record)
    compared, calibration = chosen_samples(moved, ExportRequest("int8", calibration=str(eyes)))
    assert compared.source == calibration.source == eyes.name
    assert sorted((*compared.subjects, *calibration.subjects)) == ["0000", "0001"]


def test_one_person_alone_is_not_both_compared_and_calibrated_on(tmp_path, run, eyes):
    record = DataRecord(str(eyes), ("0001",), (), 9, "research only")
    alone = RunFolder.create(tmp_path / "run", run.config, record)
    with refusal(DataError, "only-one-person", source=eyes.name, person="0001"):
        chosen_samples(alone, ExportRequest("int8"))
    compared, calibration = chosen_samples(alone, ExportRequest("float16"))
    assert (compared.subjects, calibration) == (("0001",), None)
    compared, calibration = chosen_samples(alone, ExportRequest("int8", calibration="synthetic"))
    assert compared.subjects == ("0001",)
    assert "0001" not in calibration.subjects


def test_eyes_named_for_calibration_do_not_compare(run, eyes):
    compared, calibration = chosen_samples(run, ExportRequest("int8", calibration=str(eyes)))
    assert compared.source.startswith("synthetic")
    assert calibration.source == eyes.name
    compared, calibration = chosen_samples(run, ExportRequest("float16", data=str(eyes)))
    assert compared.source == eyes.name
    assert calibration is None


@pytest.mark.parametrize(
    ("known", "expected"), [(("0001", "0007"), ("0001",)), (("9999",), ("0000", "0001"))]
)
def test_subjects_that_the_run_never_touched_stay_untouched(tmp_path, eyes, run, known, expected):
    record = DataRecord("elsewhere", known[:1], known[1:], 9, "research only")
    other = RunFolder.create(tmp_path / "run", run.config, record)
    compared, _ = chosen_samples(other, ExportRequest(data=str(eyes)))
    assert compared.subjects == expected


def chosen_samples(run, request):
    return samples_for_export(run, request, progress=no_progress, notify=lambda text: None)


@pytest.mark.usefixtures("converted_before")
def test_a_limit_that_is_missed_leaves_nothing(runs, eyes):
    impossible = ("--set", "limits.float32.coarse.max_abs=1e-12")
    result = export(runs, "--data", eyes, "--out", runs / "b", *impossible)
    error = error_of(result, "checks-failed", files="redirector.tflite")
    assert error.fields["faults"].startswith("redirector.tflite: coarse differs")
    assert "FAILED" in result.stderr
    assert not list(runs.glob("b*"))


@pytest.mark.usefixtures("converted_before")
def test_a_run_from_before_the_limit_of_the_opening_is_exported_without_it(runs, eyes):
    from mggr_edge import Bundle

    record = json.loads((runs / "run.json").read_text())
    for limits in record["config"]["limits"].values():
        del limits["opening"]
    (runs / "run.json").write_text(json.dumps(record))
    (runs / "config.yaml").write_text(yaml.safe_dump(record["config"], sort_keys=False))
    words = ("--int8", "--data", eyes)
    result = export(runs, *words, "--out", runs / "b")
    assert result.exit_code == 0, result.output
    assert 'add --set "limits.int8.opening={min_psnr_db: 40}"' in result.stderr
    (redirector,) = Bundle.open(runs / "b").contract.models["redirector"]
    assert redirector.opening.region == "eyeball disc"
    assert 0.1 < redirector.opening.share < 0.3
    strict = ("--set", "limits.int8.opening={min_psnr_db: 99}")
    error = error_of(export(runs, *words, "--out", runs / "c", *strict), "checks-failed")
    assert error.fields["faults"].startswith("redirector.tflite: inside the eye opening")
    assert not (runs / "c").exists()


@pytest.mark.usefixtures("converted_before")
def test_an_estimator_that_int8_hurts_stays_float_and_it_is_said(runs, eyes):
    from mggr_edge import Bundle

    strict = ("--set", "limits.int8.gaze.mean_abs=1e-9")
    result = export(runs, "--int8", "--data", eyes, "--out", runs / "b", *strict)
    assert result.exit_code == 0, result.output
    (note,) = [line for line in result.stderr.splitlines() if "stays float32" in line]
    assert note.startswith("estimator.tflite ")
    assert "estimator.tflite: gaze differs" in note
    models = Bundle.open(runs / "b").contract.models
    assert models["estimator"][0].precision == "float32"
    assert models["redirector"][0].precision == "int8"


def test_the_commands_load_without_tensorflow():
    code = "import sys, mggr_export.cli; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_a_trained_run_is_exported_as_typed_twice_in_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ["--set", "synthetic={subjects: 3, per_group: 3, seed: 1}"]
    trained = CliRunner().invoke(main, ["train", "--stage", "joint", "--steps", "3", *tiny])
    assert trained.exit_code == 0, trained.output
    first, second = export("--int8"), export("--int8")
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert first.stdout == "runs/mggr-edge/bundle-int8\n"
    assert second.stdout == "runs/mggr-edge/bundle-int8-2\n"
    checked = CliRunner().invoke(main, ["verify", "runs/mggr-edge/bundle-int8"])
    assert checked.exit_code == 0, checked.output


@pytest.mark.slow
def test_two_fresh_processes_write_the_same_bytes(run, tmp_path):
    for name in ("a", "b"):
        command = ["export", str(run.path), "--int8", "--out", str(tmp_path / name)]
        code = "import sys; from mggr_tf.cli import main; main(sys.argv[1:])"
        subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True)
    sums = [(tmp_path / name / "SHA256SUMS").read_bytes() for name in ("a", "b")]
    assert sums[0] == sums[1]


def test_calibration_without_anything_to_calibrate(runs):
    error_of(export(runs, "--calibration", "synthetic"), "calibration-without-int8")


def test_only_limits_can_be_changed(runs):
    error_of(export(runs, "--set", "seed=2"), "set-not-a-limit", change="seed=2")
    assert not list(runs.glob("bundle*"))


@pytest.mark.parametrize(
    ("change", "code", "at", "named"),
    [
        (
            "limits.int8.redirected.best=3",
            "unknown-key",
            "limits.int8.redirected",
            "unknown key 'best'",
        ),
        (
            "limits.int8.redirected.min_psnr_db=-3",
            "invalid-value",
            "limits.int8.redirected",
            "at least 0",
        ),
        ("limits.int8.flow={}", "invalid-value", "limits.int8.flow", "at least one of max_abs"),
    ],
)
def test_changes_that_do_not_fit(runs, change, code, at, named):
    assert named in str(error_of(export(runs, "--set", change), code, at=at))
    assert not list(runs.glob("bundle*"))


@pytest.mark.usefixtures("converted_before")
def test_a_disk_that_fills_up_in_mid_write_leaves_nothing(runs, eyes):
    """The kernel refuses in the middle of a bundle: no file may grow beyond 300 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        result = export(runs, "--data", eyes, "--out", runs / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error_of(result, "output-not-written", path=runs / "b", reason="file too large")
    assert not list(runs.glob("b*"))

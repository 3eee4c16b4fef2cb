"""The command line as a user meets it: messages, exit codes, nothing left behind."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_tf.cli import main
from mggr_tf.runs.folder import RunFolder
from refusals import error_of

TINY_DATA = (
    *("--set", "synthetic.subjects=4", "--set", "synthetic.per_group=2"),
    *("--set", "synthetic.closing_subjects=2"),
)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def eyes(tmp_path):
    folder = tmp_path / "eyes"
    assert invoke("data", "synth", folder, "--count", 14, "--seed", 5).exit_code == 0
    return folder


def flags(tiny_changes):
    return [part for change in tiny_changes for part in ("--set", change)]


def test_help_answers_at_once_and_without_tensorflow():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mggr_tf", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.perf_counter() - started < 5  # a guard against hanging; the speed is below
    for name in (
        "train",
        "export",
        "evaluate",
        "redirect",
        "quickstart",
        "data",
        "verify",
        "benchmark",
    ):
        assert f"  {name} " in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"tensorflow", "cv2", "keras"}


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "evaluate",
        "redirect",
        "benchmark",
        "data",
        "data synth",
        "data crop",
        "data check",
        "data split",
        "export",
    ],
)
def test_every_help_shows_an_example(command):
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"mggr-tf {command}" in result.output or command == "data"


def test_version():
    assert "0." in invoke("--version").output


def test_drawn_patches_are_checked_and_counted(eyes):
    result = invoke("data", "check", eyes)
    assert result.exit_code == 0, result.output
    assert "14 good, 0 bad; Apache-2.0" in result.output
    assert "subject: drawn-5-00000 14" in result.output


def test_check_lists_bad_files_and_exits_with_one(eyes):
    victim = sorted(eyes.glob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:300])
    result = invoke("data", "check", eyes)
    assert result.exit_code == 1
    assert f"{victim.name}: corrupt" in result.output


def test_a_named_output_that_exists_is_refused(eyes):
    error_of(invoke("data", "synth"), "synth-without-output")
    error_of(invoke("data", "synth", eyes, "--count", 2), "output-exists", path=eyes)
    assert invoke("data", "synth", eyes, "--count", 2, "--force").exit_code == 0
    assert len(list(eyes.glob("*.jpg"))) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        (["--data", "nowhere"], "source-missing", {"path": "nowhere"}),
        (["--config", "nonsense"], "no-such-config", {"name": "nonsense"}),
        (
            ["--set", "stages.joint.losses[0].w=1"],
            "unknown-key",
            {"at": "stages.joint.losses[0]", "key": "w"},
        ),
        (
            ["--set", "seed=many"],
            "wrong-type",
            {"at": "seed", "expected": "int", "found": "'many'"},
        ),
        (["--steps", "3", "--minutes", "1"], "steps-and-minutes", {"steps": 3, "minutes": 1.0}),
        (["--vgg16", "nowhere.h5"], "vgg16-missing", {"path": "nowhere.h5"}),
        (
            ["--config", "mggr-paper", *TINY_DATA],
            "vgg16-features-mismatch",
            {"config": "mggr-paper", "vgg16": None},
        ),
        (
            ["--config", "deepwarp-edge", "--stage", "coarse", *TINY_DATA],
            "no-such-stage",
            {"config": "deepwarp-edge", "stage": "coarse"},
        ),
        (["--resume"], "resume-without-out", {}),
        (["--from", "nowhere", *TINY_DATA], "not-a-run", {"path": "nowhere"}),
    ],
)
def test_train_refuses(arguments, code, fields, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error_of(invoke("train", *arguments), code, **fields)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("minutes", ["nan", "inf"])
def test_train_refuses_minutes_that_are_no_number(minutes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("train", "--minutes", minutes)
    assert result.exit_code == 2
    assert "not a finite number" in result.stderr
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        (["--data", "x", "--only", "beauty"], "entrant-unknown", {"found": "beauty"}),
        (["--data", "x", "--split", "nonsense"], "split-unknown", {"name": "nonsense"}),
    ],
)
def test_benchmark_refuses(arguments, code, fields, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error_of(invoke("benchmark", *arguments, "--out", "bench"), code, **fields)
    assert not list(tmp_path.rglob("run.json"))


def test_benchmark_refuses_data_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("benchmark", "--data", "nowhere", "--out", "bench")
    error_of(result, "source-missing", path=tmp_path / "nowhere")
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--train", "0001", "--report", "0001"], "both training and scores: 0001"),
        (["--folds", "9"], "folds"),
    ],
)
def test_benchmark_refuses_impossible_plans(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("benchmark", "--data", "x", *arguments, "--out", "bench")
    error = error_of(result, "benchmark-plan-invalid")
    assert reason in error.fields["reason"]
    assert not list(tmp_path.rglob("run.json"))


def test_train_refuses_an_empty_folder_a_wrong_name_and_an_existing_run(tmp_path, eyes):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "run"
    asked = ("train", "--data", empty, "--out", out)
    error_of(invoke(*asked), "folder-empty", path=empty)
    (empty / "me.jpg").write_bytes(b"")
    error_of(invoke(*asked), "patch-name-invalid", name="me.jpg")
    (empty / "me.jpg").unlink()
    cv2.imwrite(str(empty / "0001_2m_0P_0V_0H_L.jpg"), np.zeros((32, 64, 3), np.uint8))
    error = error_of(invoke(*asked), "patch-invalid", path=empty / "0001_2m_0P_0V_0H_L.jpg")
    assert "64 x 32" in error.fields["reason"]
    assert not out.exists()
    error_of(invoke("train", "--data", eyes, "--out", empty), "output-exists", path=empty)


@pytest.mark.extended
def test_the_whole_way_of_a_run(tmp_path, eyes, tiny_changes):
    run, tiny = tmp_path / "run", flags(tiny_changes)
    arguments = ["train", "--stage", "coarse", "--data", eyes, "--steps", 2, "--out", run, *tiny]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(run)
    error_of(invoke(*arguments), "output-exists", path=run)
    again = invoke("train", "--stage", "coarse", "--out", run, "--resume")
    assert "nothing to do" in again.output

    patch = sorted(eyes.glob("*.jpg"))[0]
    look = ["--pitch", 0, "--yaw", 5, "--model", run]
    made = invoke("redirect", eyes, *look, "--out", tmp_path / "made")
    assert made.exit_code == 0, made.output
    assert "14 patches, 0 photographs, 14 eyes redirected" in made.output
    assert len(list((tmp_path / "made").iterdir())) == 14
    made = tmp_path / "made"
    error_of(invoke("redirect", eyes, *look, "--out", made), "output-exists", path=made)
    nameless = tmp_path / "eye.jpg"
    nameless.write_bytes(patch.read_bytes())
    out = ["--out", tmp_path / "n"]
    result = invoke("redirect", nameless, *look, *out)
    error_of(result, "side-of-patch-unknown", path=nameless)
    missing = tmp_path / "no.jpg"
    error_of(invoke("redirect", missing, *look, *out), "picture-missing", path=missing)
    far = ["--pitch", 0, "--yaw", 70, "--model", run]
    result = invoke("redirect", nameless, *far, *out)
    error_of(result, "target-out-of-range", pitch=0.0, yaw=70.0)
    for angles in (("nan", 0), (0, "nan")):
        no_number = [
            part for pair in zip(("--pitch", "--yaw"), angles, strict=True) for part in pair
        ]
        result = invoke("redirect", eyes, *no_number, "--out", tmp_path / "n")
        assert result.exit_code == 2
        assert "not a finite number" in result.stderr
    assert not (tmp_path / "n").exists()
    asked = ["evaluate", run, "--data", eyes]
    error_of(invoke(*asked, "--judge", run), "no-judge", path=run, stage="judge")
    error_of(invoke(*asked), "not-one-mode", found=0)
    error_of(invoke(*asked, "--judge", run, "--estimator"), "not-one-mode", found=2)
    error_of(invoke(*asked, "--estimator"), "only-seen-subjects", data=eyes, trained="the run")
    (tmp_path / "other").mkdir()
    for file in eyes.glob("*.jpg"):
        (tmp_path / "other" / f"0099_{file.name.partition('_')[2]}").write_bytes(file.read_bytes())
    others = ["--data", tmp_path / "other", "--estimator", "--json", tmp_path / "scores.json"]
    found = invoke("evaluate", run, *others)
    assert found.exit_code == 0, found.output
    assert "14 patches of 1 subject; mean error" in found.output
    axes = json.loads((tmp_path / "scores.json").read_text())["scores"]["axes"]
    assert -1 <= axes["yaw"]["correlation"] <= 1


@pytest.mark.slow
def test_on_other_data_the_estimator_goes_on_from_what_it_knew(tmp_path, eyes, tiny_changes):
    other, tiny = tmp_path / "other", flags(tiny_changes)
    other.mkdir()
    for file in eyes.glob("*.jpg"):
        (other / f"0099_{file.name.partition('_')[2]}").write_bytes(file.read_bytes())
    how = ["train", "--stage", "coarse", *tiny]
    first = invoke(*how, "--data", eyes, "--steps", 2, "--out", tmp_path / "run")
    assert first.exit_code == 0, first.output
    for name, data, trained in (("same", eyes, "coarse: 3"), ("new", other, "estimator: 3")):
        on = ["--from", tmp_path / "run", "--data", data, "--steps", 3, "--out", tmp_path / name]
        result = invoke(*how, *on)
        assert result.exit_code == 0, result.output
        assert f"{trained} steps" in result.output
        stages = RunFolder.open(tmp_path / name).record.stages
        assert stages["estimator"].complete
        assert stages["estimator"].steps == (2 if name == "same" else 3)
    weights = [
        np.load(tmp_path / run / "weights" / "estimator.npz") for run in ("run", "same", "new")
    ]
    for key in weights[0]:
        np.testing.assert_array_equal(weights[1][key], weights[0][key])
    kernels = [key for key in weights[0] if weights[0][key].ndim == 4]
    off = max(float(np.abs(weights[2][key] - weights[0][key]).max()) for key in kernels)
    assert 0 < off < 0.05  # three steps away, not begun anew

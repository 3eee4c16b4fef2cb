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

TINY_DATA = (
    *("--set", "synthetic.subjects=4", "--set", "synthetic.per_group=2"),
    *("--set", "synthetic.closing_subjects=2"),
)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def failed(result, *, saying):
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert saying in lines[0]


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
    failed(invoke("data", "synth"), saying="nothing to draw")
    failed(invoke("data", "synth", eyes, "--count", 2), saying="exists")
    assert invoke("data", "synth", eyes, "--count", 2, "--force").exit_code == 0
    assert len(list(eyes.glob("*.jpg"))) == 2


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--config", "nonsense"], "no packaged config"),
        (["--set", "stages.joint.losses[0].w=1"], "losses[0]: unknown key 'w'"),
        (["--set", "seed=many"], "seed: expected int, got 'many'"),
        (["--steps", "3", "--minutes", "1"], "exclude each other"),
        (["--vgg16", "nowhere.h5"], "nowhere.h5: no such file"),
        (["--config", "mggr-paper", *TINY_DATA], "--vgg16 FILE and `models.features: vgg16` go"),
        (["--config", "deepwarp-edge", "--stage", "coarse", *TINY_DATA], "has no stage 'coarse'"),
        (["--resume"], "--resume needs --out"),
        (["--from", "nowhere", *TINY_DATA], "nowhere is no run"),
    ],
)
def test_train_refuses(arguments, saying, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed(invoke("train", *arguments), saying=saying)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("minutes", ["nan", "inf"])
def test_train_refuses_minutes_that_are_no_number(minutes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("train", "--minutes", minutes)
    assert result.exit_code == 2
    assert "not a finite number" in result.stderr
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--data", "x", "--only", "beauty"], "no entrant or group beauty"),
        (["--data", "x", "--train", "0001", "--report", "0001"], "both trained on and reported"),
        (["--data", "x", "--folds", "9"], "folds must lie between 1 and"),
        (["--data", "x", "--split", "nonsense"], "nonsense"),
    ],
)
def test_benchmark_refuses(arguments, saying, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed(invoke("benchmark", *arguments, "--out", "bench"), saying=saying)
    assert not list(tmp_path.rglob("run.json"))


def test_train_refuses_an_empty_folder_a_wrong_name_and_an_existing_run(tmp_path, eyes):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "run"
    failed(invoke("train", "--data", empty, "--out", out), saying="holds no eye patch")
    (empty / "me.jpg").write_bytes(b"")
    failed(invoke("train", "--data", empty, "--out", out), saying="me.jpg: expected <subject>")
    (empty / "me.jpg").unlink()
    cv2.imwrite(str(empty / "0001_2m_0P_0V_0H_L.jpg"), np.zeros((32, 64, 3), np.uint8))
    failed(invoke("train", "--data", empty, "--out", out), saying="64 x 32 pixels instead of")
    assert not out.exists()
    failed(invoke("train", "--data", eyes, "--out", empty), saying="exists; choose another name")


@pytest.mark.extended
def test_the_whole_way_of_a_run(tmp_path, eyes, tiny_changes):
    run, tiny = tmp_path / "run", flags(tiny_changes)
    arguments = ["train", "--stage", "coarse", "--data", eyes, "--steps", 2, "--out", run, *tiny]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(run)
    failed(invoke(*arguments), saying="exists; choose another name")
    again = invoke("train", "--stage", "coarse", "--out", run, "--resume")
    assert "nothing to do" in again.output

    patch = sorted(eyes.glob("*.jpg"))[0]
    look = ["--pitch", 0, "--yaw", 5, "--model", run]
    made = invoke("redirect", eyes, *look, "--out", tmp_path / "made")
    assert made.exit_code == 0, made.output
    assert "14 patches, 0 photographs, 14 eyes redirected" in made.output
    assert len(list((tmp_path / "made").iterdir())) == 14
    failed(invoke("redirect", eyes, *look, "--out", tmp_path / "made"), saying="exists")
    nameless = tmp_path / "eye.jpg"
    nameless.write_bytes(patch.read_bytes())
    failed(invoke("redirect", nameless, *look, "--out", tmp_path / "n"), saying="--side left or")
    failed(invoke("redirect", tmp_path / "no.jpg", *look, "--out", tmp_path / "n"), saying="no.jpg")
    far = ["--pitch", 0, "--yaw", 70, "--model", run]
    failed(invoke("redirect", nameless, *far, "--out", tmp_path / "n"), saying="within 60")
    for angles in (("nan", 0), (0, "nan")):
        no_number = [
            part for pair in zip(("--pitch", "--yaw"), angles, strict=True) for part in pair
        ]
        result = invoke("redirect", eyes, *no_number, "--out", tmp_path / "n")
        assert result.exit_code == 2
        assert "not a finite number" in result.stderr
    assert not (tmp_path / "n").exists()
    failed(
        invoke("evaluate", run, "--data", eyes, "--judge", run),
        saying="mggr-tf train --stage judge",
    )
    failed(invoke("evaluate", run, "--data", eyes), saying="with --judge, or ask for")
    failed(invoke("evaluate", run, "--data", eyes, "--estimator"), saying="that the run never saw")
    (tmp_path / "other").mkdir()
    for file in eyes.glob("*.jpg"):
        (tmp_path / "other" / f"0099_{file.name.partition('_')[2]}").write_bytes(file.read_bytes())
    others = ["--data", tmp_path / "other", "--estimator", "--json", tmp_path / "scores.json"]
    found = invoke("evaluate", run, *others)
    assert found.exit_code == 0, found.output
    assert "14 patches of 1 subject; mean error" in found.output
    axes = json.loads((tmp_path / "scores.json").read_text())["scores"]["axes"]
    assert -1 <= axes["yaw"]["correlation"] <= 1


@pytest.mark.extended
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

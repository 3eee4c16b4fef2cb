"""Runs that are there: which, what they learned, and two of them on one page."""

from __future__ import annotations

import base64
import re
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge.errors import RunError
from mggr_tf.cli.runs import runs
from mggr_tf.config.files import load_config
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import fingerprint
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import error_of, refusal


def made(path, *, steps=100, l1=(0.3, 0.2, 0.25), changes=()):
    """A run as training leaves it, with weights, a log and a sheet."""
    data = DataRecord("patches", ("0001", "0002"), (), 40, "research")
    run = RunFolder.create(path, load_config("mggr-edge", changes=list(changes)), data)
    run.update_stage("joint", StageRecord(steps, done=steps, complete=True, seconds=120.0))
    for number, value in enumerate(l1):
        run.log("joint", 25 * (number + 1), {"loss": 2 * value, "l1": value})
    rng = np.random.default_rng(0)
    np.savez(run.weights_file("coarse"), kernel=rng.normal(size=(3, 3)), bias=np.zeros(3))
    np.savez(run.weights_file("fine"), kernel=rng.normal(size=(2, 2)))
    cv2.imwrite(str(run.sheet_file("joint", steps)), np.full((8, 8, 3), 90, np.uint8))
    return run


@pytest.mark.extended
def test_equal_weights_have_equal_hashes_whenever_they_were_written(tmp_path):
    one = fingerprint(made(tmp_path / "a"))
    time.sleep(2.1)  # a zip tells the time in steps of two seconds
    other = made(tmp_path / "b")
    assert fingerprint(other) == one
    assert list(one) == ["coarse", "fine", "all"]
    with np.load(other.weights_file("fine")) as arrays:
        kernel = arrays["kernel"].copy()
    kernel[0, 0] = np.nextafter(kernel[0, 0], 1)
    np.savez(other.weights_file("fine"), kernel=kernel)
    changed = fingerprint(other)
    assert changed["coarse"] == one["coarse"]
    assert changed["fine"] != one["fine"]
    assert changed["all"] != one["all"]


def test_weights_that_a_kill_left_half_written_do_not_count(tmp_path):
    run = made(tmp_path / "a")
    whole = fingerprint(run)
    run.weights_file("coarse.partial-0a1b2c3d").write_bytes(b"half")
    assert fingerprint(run) == whole


def test_a_run_without_weights_or_with_damaged_ones_says_so(tmp_path):
    run = made(tmp_path / "a")
    content = run.weights_file("coarse").read_bytes()
    run.weights_file("coarse").write_bytes(content[: len(content) // 2])
    with refusal(RunError, "weights-damaged", path=run.weights_file("coarse")):
        fingerprint(run)
    for name in ("coarse", "fine"):
        run.weights_file(name).unlink()
    with refusal(RunError, "no-weights", path=run.path):
        fingerprint(run)


def test_the_list_tells_how_far_and_how_good_and_what_is_damaged(tmp_path):
    made(tmp_path / "a")
    half = made(tmp_path / "b")
    half.update_stage("joint", StageRecord(100, done=30, seconds=66.0))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    (tmp_path / "notes").mkdir()
    said = CliRunner().invoke(runs, ["list", str(tmp_path)])
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0] == f"{tmp_path / 'a'}: mggr-edge; patches, 40 patches of 2 subjects"
    assert lines[1] == "  joint: 100 steps in 2 minutes; best l1 0.2"
    assert lines[3] == "  joint: 30 of 100 steps, 1 minutes, unfinished; best l1 0.2"
    assert lines[4].startswith(f"{tmp_path / 'c'}: ")
    assert "the run is damaged" in lines[4]
    assert len(lines) == 5
    empty = CliRunner().invoke(runs, ["list", str(tmp_path / "notes")])
    assert empty.output == f"no runs under {tmp_path / 'notes'}\n"
    gone = CliRunner().invoke(runs, ["list", str(tmp_path / "gone")])
    error_of(gone, "no-such-folder", path=tmp_path / "gone")


def test_the_list_tells_the_best_validation_where_there_is_one(tmp_path):
    run = made(tmp_path / "a")
    for step, value in [(50, 0.31), (100, float("nan")), (150, 0.27), (200, 0.27)]:
        run.log_validation("joint", step, {"l1": value})
    run.update_stage("estimator", StageRecord(100, done=100, complete=True))
    run.log("estimator", 50, {"pitch_error_deg": 3.0, "yaw_error_deg": 4.0})
    run.log_validation("estimator", 50, {"error_deg": 6.25, "pitch_error_deg": 4.0})
    run.update_stage("judge", StageRecord(100, done=100, complete=True))
    run.log("judge", 50, {"pitch_error_deg": float("nan"), "yaw_error_deg": 4.0})
    lines = CliRunner().invoke(runs, ["list", str(tmp_path)]).output.splitlines()
    assert [line.partition("; ")[2] for line in lines[1:]] == [
        "best validation error_deg 6.25 at step 50",
        "best yaw_error_deg 4",
        "best validation l1 0.27 at step 150",
    ]


@pytest.mark.extended
def test_two_runs_on_a_page_that_needs_no_other_file(tmp_path):
    made(tmp_path / "a")
    other = made(tmp_path / "b", l1=(0.4, 0.1), changes=["stages.joint.batch=32"])
    other.log_validation("joint", 50, {"l1": 0.3})  # of one of them only
    out = tmp_path / "page.html"
    asked = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]
    said = CliRunner().invoke(runs, asked)
    assert said.exit_code == 0, said.output
    page = out.read_text()
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert rows == [("config.stages.joint.batch", "16", "32")]
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)"', page)
    assert [caption for _, caption in pictures] == [
        "Logged values by step",
        "Validation by step",
        f"{tmp_path / 'a'} after 100 steps",
        f"{tmp_path / 'b'} after 100 steps",
    ]
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        for content, _ in pictures
    ]
    assert (shown[2] == 90).all()
    assert shown[0].std() > 5
    assert shown[1].std() > 5
    assert not re.search(r'(src|href)="(?!data:)', page)
    error_of(CliRunner().invoke(runs, asked), "output-exists", path=out)
    wrong = tmp_path / "page.png"
    refused = CliRunner().invoke(runs, [*asked[:3], "--out", str(wrong)])
    error_of(refused, "comparison-not-html", path=wrong)

"""A stage that was begun keeps its budget: another one is refused, never passed over."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from mggr_edge.errors import UsageError
from mggr_tf.cli import main
from mggr_tf.cli.train_data import check_budget
from mggr_tf.config.files import load_config
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from mggr_tf.training.stopping import minutes_of_each
from refusals import error_of, refusal


@pytest.fixture
def run(tmp_path):
    """Its estimator is half trained."""
    data = DataRecord("synthetic", ("0000", "0001"), (), 24, "Apache-2.0")
    made = RunFolder.create(tmp_path / "run", load_config("mggr-edge"), data)
    made.update_stage("estimator", StageRecord(steps=100, done=40))
    return made


def refused(run, *more, **fields):
    """Resuming the run is refused because of its budget, and changes no file."""
    files = {f: f.read_bytes() for f in run.path.rglob("*.*") if f.is_file()}
    asked = ["train", "--stage", "joint", "--out", str(run.path), "--resume", *more]
    result = CliRunner().invoke(main, asked)
    error_of(result, "stage-budget-fixed", path=run.path, stage="estimator", **fields)
    assert "data:" not in result.output
    assert {f: f.read_bytes() for f in files} == files


def test_other_steps_than_it_was_begun_with_are_refused(run):
    refused(run, "--steps", "101", steps=100, minutes=None, option="--steps")
    refused(run, "--minutes", "5", steps=100, minutes=None, option="--minutes")
    check_budget(run, "joint", steps=100, minutes=None)
    check_budget(run, "joint", steps=None, minutes=None)


def test_minutes_are_compared_by_the_stages_part_of_them(run):
    part = minutes_of_each(run, "joint", 30.0)["estimator"]
    assert 0 < part < 30
    run.update_stage("estimator", StageRecord(steps=100, done=40, minutes=part))
    check_budget(run, "joint", steps=None, minutes=30.0)
    refused(run, "--minutes", "31", steps=100, minutes=part, option="--minutes")


def test_the_parts_stay_the_same_when_a_stage_has_had_its_own(run):
    before = minutes_of_each(run, "joint", 30.0)
    assert sum(before.values()) == pytest.approx(30)
    run.update_stage("estimator", StageRecord(100, 100, complete=True, minutes=before["estimator"]))
    assert minutes_of_each(run, "joint", 30.0) == before
    # Of another run's estimator nobody counts the minutes.
    run.update_stage("estimator", StageRecord(100, 100, complete=True))
    assert minutes_of_each(run, "joint", 30.0).keys() == before.keys() - {"estimator"}


def test_a_config_with_other_steps_is_refused_too(run):
    key = "stages.estimator.steps"
    refused(run, "--changed-config", "--set", f"{key}=101", steps=100, option=key)
    run.update_stage("estimator", StageRecord(steps=100, done=0))
    asked = ["train", "--stage", "estimator", "--out", str(run.path), "--resume"]
    asked += ["--changed-config", "--set", "stages.estimator.steps=101", "--data", "nowhere"]
    result = CliRunner().invoke(main, asked)
    error_of(result, "data-not-usable", path=run.path, cause="source-missing")


@pytest.mark.parametrize(
    "record", [StageRecord(steps=100, done=0), StageRecord(steps=100, done=100, complete=True)]
)
def test_what_was_not_begun_or_is_complete_refuses_no_budget(run, record):
    run.update_stage("estimator", record)
    check_budget(run, "joint", steps=7, minutes=None)
    run.update_stage("judge", StageRecord(steps=100, done=40))  # which is not to be trained
    check_budget(run, "joint", steps=7, minutes=None)
    with refusal(UsageError, "stage-budget-fixed", stage="judge", steps=100, option="--steps"):
        check_budget(run, "judge", steps=7, minutes=None)

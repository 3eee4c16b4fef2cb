"""`mggr-tf train --portraits`: a run's second data source, recorded, found again, never scored."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

from mggr_tf.cli import main
from mggr_tf.evaluation.protocol import refuse_seen_subjects
from mggr_tf.redirect import bundle_of_run
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import trained_on
from mggr_tf.runs.record import Origin
from portrait_folder import LICENCE, write_portraits
from refusals import error_of

pytestmark = pytest.mark.extended

SMALL = (
    "synthetic={subjects: 4, per_group: 2, seed: 3}",
    "recipe=[estimator, coarse, joint, adapted]",
    "stages.adapted={steps: 2, batch: 2, learning_rate: 1.0e-3, "
    "portraits: {pairs: 2, redirected: 2}}",
)
SPLIT = "train: person-00,person-01\nselect: person-02\nreport: person-03\n"


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def eyes(tmp_path):
    return write_portraits(tmp_path / "eyes", people=4)


@pytest.fixture
def split(tmp_path):
    file = tmp_path / "split.yaml"
    file.write_text(SPLIT)
    return file


@pytest.fixture
def training(tmp_path, tiny_changes):
    """The command up to what a test adds, and the run's folder."""
    out = tmp_path / "run"
    changes = [word for change in (*tiny_changes, *SMALL) for word in ("--set", change)]
    return ["train", "--out", out, "--steps", 1, *changes], out


@pytest.fixture
def run(training, eyes, split):
    """Trained to the end of its estimator, with portraits for later."""
    command, out = training
    result = invoke(
        *command, "--stage", "estimator", "--portraits", eyes, "--portraits-split", split
    )
    assert result.exit_code == 0, result.output
    return out


def resume(out, *more):
    return ["train", "--out", out, "--resume", *more]


@pytest.mark.slow
def test_the_last_stage_follows_the_portraits(training, eyes, split):
    command, out = training
    result = invoke(*command, "--portraits", eyes, "--portraits-split", split)
    assert result.exit_code == 0, result.output
    run = RunFolder.open(out)
    assert {*run.record.stages} == {"estimator", "coarse", "joint", "adapted"}
    assert run.has_weights("adapted")
    training = bundle_of_run(run).contract.training
    assert LICENCE in training.licence
    assert {"person-00", "person-01"} <= {*training.subjects}
    assert "person-02" not in training.subjects


@pytest.mark.slow
def test_without_portraits_the_recipe_ends_before_adapted(training):
    command, out = training
    error_of(invoke(*command, "--stage", "adapted"), "adapted-without-portraits", stage="adapted")
    assert not out.exists()
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert {*RunFolder.open(out).record.stages} == {"estimator", "coarse", "joint"}


def test_the_record_holds_people_licence_and_fingerprint(run, eyes):
    record = RunFolder.open(run).record.portraits
    assert (record.source, record.licence, record.patches) == (str(eyes), LICENCE, 4)
    assert (record.subjects, record.held_out) == (("person-00", "person-01"), ("person-02",))
    assert len(record.fingerprint) == 64


def test_people_of_portraits_are_not_scored(run):
    record = RunFolder.open(run).record
    seen = trained_on({"the run": RunFolder.open(run)})
    assert seen == {"the run": (*record.data.subjects, "person-00", "person-01")}
    asked = ("evaluate", run, "--data", "nowhere", "--estimator", "--subjects")
    error_of(invoke(*asked, "person-02"), "source-missing", path="nowhere")
    result = invoke(*asked, "person-01")
    error_of(result, "subjects-seen", trained="the run", subjects="person-01")
    refuse_seen_subjects(("person-02", "person-03"), seen)


@pytest.mark.slow
def test_a_resumed_run_finds_its_portraits_and_reports_what_changed(run, eyes, tmp_path):
    assert invoke(*resume(run, "--stage", "adapted", "--steps", 1)).exit_code == 0
    before = RunFolder.open(run).record
    moved = tmp_path / "moved"
    eyes.rename(moved)
    # Nothing that is left needs them.
    assert invoke(*resume(run, "--stage", "adapted")).exit_code == 0
    assert invoke(*resume(run, "--stage", "adapted", "--portraits", moved)).exit_code == 0
    assert RunFolder.open(run).record.portraits.source == str(moved)
    assert RunFolder.open(run).record.origins == before.origins
    shutil.copy(moved / "person-00_left.jpg", moved / "person-01_left.jpg")
    asked = resume(run, "--stage", "adapted", "--portraits", moved)
    error = error_of(invoke(*asked), "portraits-changed", path=run)
    assert "other pictures or labels" in error.fields["changes"]
    assert invoke(*asked, "--changed-data").exit_code == 0
    assert any("portraits: " in change for change in RunFolder.open(run).record.changes)


def test_people_who_are_gone_are_reported(run, eyes, split):
    table = eyes / "eyes.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if "person-01" not in row) + "\n")
    asked = resume(run, "--stage", "coarse", "--steps", 1, "--portraits", eyes)
    error = error_of(
        invoke(*asked), "portraits-not-usable", path=run, cause="split-subject-unknown"
    )
    assert "person-01" in error.fields["reason"]
    assert invoke(*asked, "--changed-data").exit_code == 0
    record = RunFolder.open(run).record
    assert record.portraits.subjects == ("person-00",)
    # Weights may come from her all the same.
    assert "person-01" in record.seen
    assert Origin("run", "eyes", LICENCE, ("person-00", "person-01")) in record.origins


def test_other_people_than_before_are_refused(run, split):
    split.write_text("train: person-00,person-03\nselect: person-02\nreport: []\n")
    asked = resume(run, "--stage", "coarse", "--steps", 1, "--portraits-split", split)
    error_of(invoke(*asked), "portraits-people-differ", path=run, split=split)
    assert invoke(*asked, "--changed-data").exit_code == 0
    assert RunFolder.open(run).record.portraits.subjects == ("person-00", "person-03")


@pytest.mark.slow
def test_a_run_without_portraits_takes_some_later(training, eyes, split):
    command, out = training
    assert invoke(*command).exit_code == 0
    named = ("--portraits", eyes, "--portraits-split", split)
    result = invoke(*resume(out, "--steps", 1, *named))
    assert result.exit_code == 0, result.output
    run = RunFolder.open(out)
    assert run.is_complete("adapted")
    assert run.record.portraits.subjects == ("person-00", "person-01")


@pytest.mark.parametrize(
    ("more", "code", "fields"),
    [
        (["--portraits", "nowhere"], "source-missing", {"path": "nowhere"}),
        (["--portraits", "synthetic"], "portraits-synthetic", {}),
        (
            ["--portraits-split", "split.yaml"],
            "portraits-split-without-portraits",
            {"path": "split.yaml"},
        ),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line(training, more, code, fields):
    command, out = training
    error_of(invoke(*command, "--stage", "estimator", *more), code, **fields)
    assert not out.exists()


def test_devices_of_a_new_run_keep_its_donors_adapted_estimator(
    training, eyes, split, tmp_path, tiny_changes
):
    command, donor = training
    assert invoke(*command, "--portraits", eyes, "--portraits-split", split).exit_code == 0
    adapted = (donor / "weights" / "adapted.npz").read_bytes()
    estimator = (donor / "weights" / "estimator.npz").read_bytes()

    def started(name, **how):
        run = RunFolder.create(
            tmp_path / name, RunFolder.open(donor).config, RunFolder.open(donor).record.data
        )
        adopt(run, RunFolder.open(donor), **how)
        return {
            file.stem: file.read_bytes() for file in (tmp_path / name / "weights").glob("*.npz")
        }

    same = started("same", stage="joint")
    assert (same["estimator"], same["adapted"]) == (estimator, adapted)
    stages = [RunFolder.open(path).record.stages["adapted"] for path in (donor, tmp_path / "same")]
    assert (stages[1].done, stages[1].complete) == (stages[0].done, True)
    # An estimator that goes on starts from what devices ran, which is then no longer the last.
    goes_on = started("goes-on", stage="joint", train_on=("estimator",))
    assert goes_on["estimator"] == adapted
    assert "adapted" not in goes_on
    assert "adapted" not in RunFolder.open(tmp_path / "goes-on").record.stages
    again = started("again", stage="adapted")
    assert again["estimator"] == estimator
    assert "adapted" not in again

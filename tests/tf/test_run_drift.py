"""A run notices what changed since it was made, shows it, and touches nothing when it refuses."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
from importlib.util import find_spec

import cv2
import pytest
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_tf.cli import main
from mggr_tf.cli.train_data import followed_data
from mggr_tf.config.files import differences, in_words, load_config
from mggr_tf.data.source import open_split
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord, StageRecord
from refusals import error_of

KERAS = "keras" if find_spec("tf_keras") is None else "tf-keras"
STAGE = "estimator"
CHANGES = (
    "held_out=0.4",
    "synthetic.subjects=3",
    "synthetic.per_group=2",
    "synthetic.closing_subjects=2",
)


def refused(*arguments, code, **fields):
    """The error that a command is refused with, after checking its code and fields."""
    return error_of(CliRunner().invoke(main, [str(a) for a in arguments]), code, **fields)


def resuming(run, *more):
    return ["train", "--stage", STAGE, "--out", str(run), "--resume", *map(str, more)]


def resume(run, *more):
    return CliRunner().invoke(main, resuming(run, *more))


def resume_refused(run, /, *more, code, **fields):
    return refused(*resuming(run, *more), code=code, **fields)


def content(folder):
    """All of a folder but the lock, which every training takes."""
    return {f: f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def made(path, data, *, subjects=None):
    """A run whose stage is complete, as a training of no consequence would leave it."""
    config = load_config("mggr-edge", changes=CHANGES)
    split = open_split(
        str(data),
        config=config,
        stage=STAGE,
        subjects=subjects,
        progress=no_progress,
        notify=lambda text: None,
    )
    run = RunFolder.create(path, config, DataRecord.of(split))
    run.update_stage(STAGE, StageRecord(2, done=2, complete=True))
    (path / ".lock").touch()
    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "eyes"
    arguments = ["data", "synth", str(folder), "--count", "40", "--seed", "5"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return folder


@pytest.fixture
def eyes(drawn, tmp_path):
    """Patches of five people, eight of each."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    for number, file in enumerate(sorted(drawn.glob("*.jpg"))):
        shutil.copy(file, folder / f"{1 + number % 5:04d}_{file.name.partition('_')[2]}")
    return folder


@pytest.fixture
def run(tmp_path, eyes):
    return made(tmp_path / "run", eyes)


def test_a_config_that_was_edited_is_refused_by_all_who_open_the_run(run, eyes):
    file = run.path / "config.yaml"
    text = file.read_text()
    file.write_text(f"# a comment\n{text.replace('seed: 1', 'seed:   1 # the same')}")
    assert resume(run.path).exit_code == 0
    file.write_text(text.replace("held_out: 0.4", "held_out: 0.3").replace("seed: 1", "seed: 2", 1))
    before = content(run.path)
    changes = "seed 1 -> 2; held_out 0.4 -> 0.3"
    for command in (
        resuming(run.path),
        ["train", "--stage", STAGE, "--out", run.path.parent / "new", "--from", run.path],
        ["evaluate", run.path, "--data", eyes, "--estimator"],
        ["export", run.path],
        ["runs", "fingerprint", run.path],
    ):
        refused(*command, code="config-file-changed", path=file, changes=changes)
    listed = CliRunner().invoke(main, ["runs", "list", str(run.path.parent)])
    assert f"{file} has changed" in listed.stdout
    assert changes in listed.stdout
    assert content(run.path) == before
    file.write_text(text.replace("held_out: 0.4", "held_out: many"))
    error = resume_refused(run.path, code="run-damaged", path=run.path)
    assert "config.yaml: held_out: expected float, got 'many'" in str(error.fields["reason"])


def test_a_run_that_kept_no_config_opens_as_ever(run):
    text = (run.path / "run.json").read_text()
    assert '"config": {' in text
    RunFolder(
        run.path, run.config, run.record.__class__(run.record.seed, run.record.data)
    ).note_data(run.record.data)
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace("held_out: 0.4", "held_out: 0.3"))
    assert RunFolder.open(run.path).config.held_out == 0.3


def test_another_config_is_refused_with_what_differs_and_the_same_one_is_none(run):
    before = content(run.path)
    assert resume(run.path, "--set", "held_out=0.4").exit_code == 0
    sets = [part for change in CHANGES for part in ("--set", change)]
    # The packaged one leaves to the machine what the run has settled.
    assert resume(run.path, "--config", "mggr-edge", *sets).exit_code == 0
    resume_refused(
        run.path,
        "--config",
        "mggr-edge",
        "--set",
        "seed=7",
        *sets[2:],
        code="config-differs",
        path=run.path,
        changes="seed 1 -> 7; held_out 0.4 -> 0.15",
    )
    change = "stages.joint.losses.l1.weight=3"
    resume_refused(
        run.path, "--set", change, code="change-name-not-unique", change=change, key="l1", count=2
    )
    error = resume_refused(
        run.path,
        "--set",
        "stages.joint.losses.lpips.weight=3",
        code="config-differs",
        path=run.path,
    )
    changes = str(error.fields["changes"]).replace("3.0", "3")
    assert changes == "stages.joint.losses.lpips.weight 1.0 -> 3"
    assert content(run.path) == before


def test_very_many_differences_are_counted():
    one, other = load_config("mggr-edge"), load_config("deepwarp-edge")
    words = in_words(differences(one, other))
    assert words.count(" -> ") == 12
    assert words.endswith(f"and {len(differences(one, other)) - 12} more")


def test_a_picture_with_another_pixel_is_noticed(run, eyes):
    file = sorted(eyes.glob(f"{run.record.data.subjects[0]}*"))[0]
    picture = cv2.imread(str(file))
    picture[:8] = 255 - picture[:8]
    cv2.imwrite(str(file), picture)
    before = content(run.path)
    error = resume_refused(run.path, code="data-changed", path=run.path)
    assert f"the same number of patches ({run.record.data.patches})" in error.fields["changes"]
    assert "--changed-data" in str(error)
    assert f"--from {run.path}" in str(error)
    assert content(run.path) == before
    result = resume(run.path, "--changed-data")
    assert result.exit_code == 0, result.output
    assert "the data changed: the same number of patches" in result.stderr
    after = RunFolder.open(run.path).record
    assert after.data.fingerprint != run.record.data.fingerprint
    assert after.stages == run.record.stages
    assert after.changes[0].startswith("data: the same number of patches")
    assert "changed" not in resume(run.path).stderr


def test_another_label_is_noticed(run, eyes):
    name = run.record.data.subjects[0]
    one, other = sorted(eyes.glob(f"{name}*"))[:2]
    aside = eyes / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    error = resume_refused(run.path, code="data-changed", path=run.path)
    assert "other pictures or labels" in error.fields["changes"]


def test_a_patch_less_is_noticed(run, eyes):
    sorted(eyes.glob(f"{run.record.data.subjects[0]}*"))[0].unlink()
    error = resume_refused(run.path, code="data-changed", path=run.path)
    count = run.record.data.patches
    changes = error.fields["changes"]
    assert f"{count} patches before, {count - 1} now" in changes
    assert "the same people" in changes


def test_people_who_are_gone_and_new_are_named_and_who_was_held_out_stays_so(run, eyes):
    data = run.record.data
    gone = data.subjects[0]
    for file in eyes.glob(f"{gone}*"):
        for new in ("0008", "0009"):
            shutil.copy(file, eyes / f"{new}_{file.name.partition('_')[2]}")
        file.unlink()
    before = content(run.path)
    error = resume_refused(run.path, code="data-changed", path=run.path)
    assert f"1 subject removed ({gone}), 2 subjects new (0008, 0009)" in error.fields["changes"]
    assert content(run.path) == before
    assert resume(run.path, "--changed-data").exit_code == 0
    after = RunFolder.open(run.path).record.data
    assert after.held_out == data.held_out
    assert set(after.subjects) == {*data.subjects, "0008", "0009"} - {gone}
    assert after.earlier == (gone,)
    assert gone in after.seen
    # A plain --resume goes on with that, and so does a worker who follows.
    before = content(run.path)
    assert resume(run.path).exit_code == 0
    assert content(run.path) == before
    followed = followed_data(RunFolder.open(run.path), STAGE, None)
    assert (followed.train.subjects, followed.aside) == (after.subjects, after.held_out)


def test_where_only_people_who_are_held_out_are_left_nothing_is_trained_on(run, eyes):
    for name in run.record.data.subjects:
        for file in eyes.glob(f"{name}*"):
            file.unlink()
    error = resume_refused(
        run.path,
        "--changed-data",
        code="data-not-usable",
        path=run.path,
        cause="all-subjects-held-out",
    )
    assert str(eyes) in error.fields["reason"]
    assert " 2 " in error.fields["reason"]


def test_data_that_moved_is_known_again_and_other_data_is_not(run, eyes, tmp_path):
    moved = eyes.rename(tmp_path / "moved")
    resume_refused(run.path, code="data-not-usable", path=run.path, cause="source-missing")
    result = resume(run.path, "--data", moved)
    assert result.exit_code == 0, result.output
    assert RunFolder.open(run.path).record.data.source == str(moved)
    assert resume(run.path).exit_code == 0
    error = resume_refused(run.path, "--data", "synthetic", code="data-changed", path=run.path)
    assert "5 subjects removed (0001, 0002, 0003, 0004, 0005)" in error.fields["changes"]


def test_of_an_older_run_people_and_numbers_are_compared(run, eyes, tmp_path):
    known = run.record.data
    run.note_data(
        DataRecord(known.source, known.subjects, known.held_out, known.patches, known.licence)
    )
    moved = shutil.copytree(eyes, tmp_path / "moved")
    error = resume_refused(run.path, "--data", moved, code="data-changed", path=run.path)
    assert f"{eyes} before" in error.fields["changes"]
    assert "no fingerprint" in error.fields["changes"]
    assert resume(run.path).exit_code == 0
    assert RunFolder.open(run.path).record.data == known  # known by its content from now on


def test_people_who_were_named_and_are_gone(tmp_path, eyes):
    run = made(tmp_path / "run", eyes, subjects=("0001", "0002"))
    for file in eyes.glob("0002*"):
        file.unlink()
    error = resume_refused(
        run.path, code="data-not-usable", path=run.path, cause="subject-without-patch"
    )
    assert "0002" in error.fields["reason"]
    again = ("--subjects", "0001")
    resume_refused(run.path, *again, code="subjects-differ", path=run.path, found="0001")
    assert resume(run.path, *again, "--changed-data").exit_code == 0
    after = RunFolder.open(run.path).record.data
    assert (after.subjects, after.earlier) == (("0001",), ("0002",))


@pytest.mark.parametrize(
    ("package", "version", "warned"),
    [
        ("tensorflow", "2.14.0", True),
        (KERAS, "2.14.0", True),
        ("numpy", "1.23.5", True),
        ("mggr-tf", "0.0.1", True),
        ("python", "3.9.9", True),
        ("python", f"{sys.version_info.major}.{sys.version_info.minor}.99", False),
    ],
)
def test_other_versions_are_warned_of_in_one_line(run, package, version, warned):
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    now = record["versions"][package]
    record["versions"][package] = version
    file.write_text(json.dumps(record))
    result = resume(run.path)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(lines) == warned
    assert not warned or f"{package} {version} -> {now}" in lines[0]


def test_a_package_that_was_not_recorded_is_not_compared(run):
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    del record["versions"][KERAS]
    file.write_text(json.dumps(record))
    assert "warning" not in resume(run.path).stderr


def test_changes_are_a_matter_of_resuming(tmp_path):
    for flag in ("--changed-data", "--changed-config"):
        refused("train", "--out", tmp_path / "new", flag, code="changes-without-resume")


def test_a_changed_config_that_cannot_be_written_down_leaves_the_run_as_it_was(run):
    """The kernel's own refusal, of the second of two files."""
    sizes = [(run.path / name).stat().st_size for name in ("config.yaml", "run.json")]
    assert sizes[0] + 100 < sizes[1]
    before = content(run.path)
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[0] + 100, was[1]))
        error = resume_refused(
            run.path,
            "--changed-config",
            "--set",
            "stages.joint.losses.lpips.weight=0.53125",
            code="training-not-written",
            run=run.path,
            path=run.path / "run.json",
            reason="file too large",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    assert f"Kept: {error.fields['kept']}" in str(error)
    assert content(run.path) == before
    assert RunFolder.open(run.path).config == run.config


def test_a_config_that_is_meant_to_change_is_written_down_but_never_other_networks(run, eyes):
    before = content(run.path)
    how = ("--changed-config", "--set", "stages.joint.batch=8")
    resume_refused(
        run.path,
        *how,
        "--set",
        "models.judge=4",
        code="config-change-not-possible",
        path=run.path,
        changes="models.judge 16 -> 4",
    )
    kept = eyes.rename(eyes.with_name("kept"))
    # Neither while its data is not there.
    resume_refused(run.path, *how, code="data-not-usable", cause="source-missing")
    kept.rename(eyes)
    assert content(run.path) == before
    result = resume(run.path, *how)
    assert result.exit_code == 0, result.output
    assert "the config changed: stages.joint.batch 16 -> 8" in result.stderr
    after = RunFolder.open(run.path)
    assert after.config.stage("joint").batch == 8
    assert after.config.models == run.config.models
    assert after.record.changes == ("config: stages.joint.batch 16 -> 8",)
    assert resume(run.path, "--set", "stages.joint.batch=8").exit_code == 0

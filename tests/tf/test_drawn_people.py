"""One name for a drawn person, wherever it was drawn; the numbers of earlier versions."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import RunError
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.bundle_archive import SUMS_FILE, checksum_lines
from mggr_edge.models.installed import NAMES, bundle_path
from mggr_tf.cli import main
from mggr_tf.cli.natural import natural
from mggr_tf.config.files import load_config
from mggr_tf.data.columbia import write_dataset
from mggr_tf.data.names import (
    FIRST_IN_FOLDER,
    FIRST_IN_MEMORY,
    SYNTHETIC_LICENCE,
    SYNTHETIC_MARK,
    DrawnPerson,
    drawn_name,
    drawn_person,
    former_name,
    present_name,
)
from mggr_tf.data.source import open_samples, open_split
from mggr_tf.evaluation.clips import DrawnClip
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run
from mggr_tf.runs.provenance import subjects_of_contract
from mggr_tf.runs.record import DataRecord
from packs import opened as packed
from packs import pack
from refusals import check_error, error_of, refusal

SEED = 5
CONFIG = load_config(
    "mggr-edge",
    changes=[f"synthetic.seed={SEED}", "synthetic.subjects=3", "synthetic.per_group=2"],
)


def opened(source, subjects=None):
    return open_samples(
        str(source), config=CONFIG, subjects=subjects, progress=no_progress, notify=print
    )


def put(folder, *, former=False, seed=SEED):
    """Eight patches of one drawn person, named as earlier versions did if `former`."""
    write_dataset(folder, count=8, seed=seed)
    if former:
        for file in folder.glob("*.jpg"):
            file.rename(folder / f"0001_{file.name.partition('_')[2]}")
    return folder


def without_seed(folder):
    """As a pack of an earlier version has them: their licence, and no seed."""
    (folder / SYNTHETIC_MARK).unlink()
    (folder / "licence.txt").write_text(SYNTHETIC_LICENCE)
    return folder


def test_a_name_is_a_seed_and_an_index():
    assert drawn_person(drawn_name(7, 123_456)) == DrawnPerson(7, 123_456)
    assert drawn_person("0001") is None
    for first, former in ((FIRST_IN_MEMORY, "00041"), (FIRST_IN_FOLDER, "0042")):
        assert present_name(former, seed=3, first=first) == "drawn-3-00041"
        assert former_name("drawn-3-00041", first=first) == former
    assert present_name("0001", seed=None, first=FIRST_IN_FOLDER) == "0001"
    assert present_name("0000", seed=3, first=FIRST_IN_FOLDER) == "0000"
    assert present_name("anna", seed=3, first=FIRST_IN_MEMORY) == "anna"


def test_in_memory_and_in_a_folder_a_person_has_one_name(tmp_path):
    in_memory = opened("synthetic")
    for former in (False, True):
        in_folder = opened(put(tmp_path / f"eyes-{former}", former=former))
        assert in_folder.subjects == ("drawn-5-00000",)
        assert {*in_folder.subjects} < {*in_memory.subjects}


def test_packs_hold_present_names(tmp_path):
    pack(put(tmp_path / "eyes", former=True), tmp_path / "packed")
    assert packed(tmp_path / "packed").subjects == ("drawn-5-00000",)


@pytest.mark.parametrize("former", [False, True])
def test_both_names_select_a_person(tmp_path, former):
    folder = put(tmp_path / "eyes", former=former)
    for name in ("0001", "drawn-5-00000"):
        assert len(opened(folder, (name,))) == 8
    for name in ("00002", "drawn-5-00002"):
        assert opened("synthetic", (name,)).subjects == ("drawn-5-00002",)


def split_of(source):
    return open_split(
        str(source),
        config=CONFIG,
        stage="estimator",
        subjects=None,
        progress=no_progress,
        notify=print,
    )


@pytest.mark.parametrize("kind", ["synthetic", "folder"])
def test_runs_of_earlier_versions_open_with_present_names_and_know_their_data(tmp_path, kind):
    source = "synthetic" if kind == "synthetic" else put(tmp_path / "eyes")
    split = split_of(source)
    run = RunFolder.create(tmp_path / "run", CONFIG, DataRecord.of(split))
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    first = FIRST_IN_MEMORY if kind == "synthetic" else FIRST_IN_FOLDER
    for names in ("subjects", "held_out"):
        record["data"][names] = [former_name(n, first=first) for n in record["data"][names]]
    record["data"]["fingerprint"] = split.train.former_fingerprints()[first]
    del record["origins"]
    file.write_text(json.dumps(record))
    assert RunFolder.open(run.path).record.data.subjects == split.train.subjects
    from mggr_tf.cli.train_session import resumed_data

    again = RunFolder.open(run.path)
    resumed_data(again, "estimator", None, subjects=None, may_differ=False)
    assert again.record.data == DataRecord.of(split)
    assert not again.record.changes


def test_people_of_other_data_keep_their_names_when_a_run_goes_on_with_drawn_people(tmp_path):
    """Otherwise scoring would not know that it was trained on them."""
    from mggr_tf.cli.train_session import resumed_data

    eyes = put(tmp_path / "eyes")
    photographed = DataRecord(
        str(tmp_path / "photos"), ("0001", "0002"), ("0003",), 9, "research only"
    )
    run = RunFolder.create(tmp_path / "run", CONFIG, photographed)
    resumed_data(run, "estimator", str(eyes), subjects=None, may_differ=True)
    again = RunFolder.open(run.path).record
    assert again.data.subjects == split_of(eyes).train.subjects
    assert again.data.earlier == ("0001", "0002")
    assert again.origins[0].subjects == ("0001", "0002")
    assert {"0001", "0002"} < {*again.seen}
    # Subjects that the command line named are numbers of other data, not of this folder.
    named = replace(photographed, held_out=())
    run = RunFolder.create(tmp_path / "named", CONFIG, named)
    refused = {"path": run.path, "subjects": "0001, 0002", "source": eyes}
    with refusal(RunError, "subjects-of-other-data", **refused):
        resumed_data(run, "estimator", str(eyes), subjects=None, may_differ=True)
    assert RunFolder.open(run.path).record.data == named


def test_the_packaged_records_name_the_same_people():
    run = open_run("default")
    assert drawn_name(1, 0) in run.record.data.subjects
    assert drawn_name(1, 4) in run.record.data.held_out
    assert run.record.origins_known
    for name in NAMES:
        subjects = subjects_of_contract(Bundle.open(name).contract.training)
        assert set(subjects) == set(run.record.seen)
    assert run.record.portraits is not None
    assert set(run.record.portraits.subjects) <= set(run.record.seen)


@pytest.mark.parametrize(
    "former",
    [
        pytest.param(False, marks=pytest.mark.extended),
        pytest.param(True, marks=pytest.mark.slow),
    ],
)
def test_the_packaged_weights_are_not_scored_on_their_training_people(tmp_path, former):
    def scored(*arguments):
        asked = ["evaluate", "default", "--estimator", "--data", *map(str, arguments)]
        return CliRunner().invoke(main, asked)

    own = put(tmp_path / "own", former=former, seed=1)
    for subjects in ((), ("--subjects", "0001"), ("--subjects", "drawn-1-00000")):
        code = "subjects-seen" if subjects else "only-seen-subjects"
        error = error_of(scored(own, *subjects), code)
        assert str(error.fields["trained"]).startswith("the run")
    other = scored(put(tmp_path / "other", former=former, seed=2))
    assert other.exit_code == 0, other.output
    # A number without a seed can be anybody.
    unknown = scored(without_seed(put(tmp_path / "unknown", former=True, seed=1)))
    error = error_of(unknown, "synthetic-seed-unknown")
    assert str(error.fields["trained"]).startswith("the run")


def test_drawn_clips_of_training_people_are_refused(tmp_path):
    bundle = shutil.copytree(bundle_path("default-int8"), tmp_path / "bundle")
    contract = json.loads((bundle / "contract.json").read_text())
    contract["training"]["subjects"] = [DrawnClip(1).name]
    (bundle / "contract.json").write_text(json.dumps(contract))
    files = {
        str(file.relative_to(bundle)): file.read_bytes()
        for file in bundle.rglob("*")
        if file.is_file() and file.name != SUMS_FILE
    }
    (bundle / SUMS_FILE).write_text(checksum_lines(files))
    result = CliRunner().invoke(natural, [str(bundle), "synthetic"])
    assert result.exit_code != 0
    people = DrawnClip(1).name
    check_error(result.exception, "trained-on-clip-people", bundle=bundle, subjects=people)

"""The data that weights come from, over donors, donors' donors and changed data."""

import json

import pytest
from click.testing import CliRunner

from mggr_tf.cli import main
from mggr_tf.config.files import load_config
from mggr_tf.data.columbia import write_dataset
from mggr_tf.models.networks import Networks, save_weights
from mggr_tf.redirect import bundle_of_run
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.provenance import training_of
from mggr_tf.runs.record import UNKNOWN_DONORS, DataRecord, Origin, StageRecord
from refusals import error_of

PHOTOGRAPHED = DataRecord("/data/photos", ("0001", "0002"), ("0003",), 9, "research only")
DRAWN = DataRecord("synthetic", ("drawn-3-00000",), ("drawn-3-00001",), 9, "Apache-2.0")
OWN = DataRecord("/data/own", ("anna", "bert"), (), 9, "our own use")


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_config):
    """An estimator's and both branches' weights; never trained."""
    folder, networks = tmp_path_factory.mktemp("weights"), Networks(tiny_config)
    save_weights(networks.estimator, folder / "estimator.npz")
    for name in ("coarse", "fine"):
        save_weights(networks.averaged.part(name), folder / f"{name}.npz")
    return folder


def made(path, config, data, *, donor=None, weights):
    """A run as training leaves it."""
    run = RunFolder.create(path, config, data)
    if donor is not None:
        adopt(run, RunFolder.open(donor.path), stage="joint")
    for file in weights.iterdir():
        (path / "weights" / file.name).write_bytes(file.read_bytes())
    for stage in config.recipe:
        run.update_stage(stage, StageRecord(2, done=2, complete=True))
    return run


def forget_origins(run):
    """Makes a run's record one of an earlier version."""
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    del record["origins"]
    file.write_text(json.dumps(record))


@pytest.fixture
def chain(tmp_path, tiny_config, weights):
    """A run of photographs, one of drawn eyes that started from it, and one from that."""
    first = made(tmp_path / "first", tiny_config, PHOTOGRAPHED, weights=weights)
    second = made(tmp_path / "second", tiny_config, DRAWN, donor=first, weights=weights)
    return first, second, made(tmp_path / "third", tiny_config, OWN, donor=second, weights=weights)


@pytest.mark.extended
def test_people_and_licences_are_unions_over_all_donors(chain):
    first, second, third = (RunFolder.open(run.path).record for run in chain)
    assert first.origins == ()
    assert first.licences == ("research only",)
    assert second.licences == ("Apache-2.0", "research only")
    assert second.seen == (*DRAWN.subjects, *PHOTOGRAPHED.subjects)
    assert third.origins == (
        Origin("second", "synthetic", "Apache-2.0", DRAWN.subjects),
        Origin("first", "photos", "research only", PHOTOGRAPHED.subjects),
    )
    assert third.licence == "our own use; Apache-2.0; research only"
    assert {*third.seen} == {*OWN.subjects, *DRAWN.subjects, *PHOTOGRAPHED.subjects}
    assert third.origins_known


@pytest.mark.extended
def test_the_contract_states_the_unions_without_places_of_this_machine(chain):
    for training in (training_of(chain[2]), bundle_of_run(chain[2]).contract.training):
        assert training.data == "own, synthetic, photos"
        assert training.licence == "our own use; Apache-2.0; research only"
        assert {*training.subjects} == {*chain[2].record.seen}


@pytest.mark.extended
def test_data_that_changed_keeps_its_licence_and_people(tmp_path, tiny_config, weights):
    run = made(tmp_path / "run", tiny_config, PHOTOGRAPHED, weights=weights)
    run.note_data(DRAWN, change="other people")
    run.note_data(OWN, change="others again")
    record = RunFolder.open(run.path).record
    assert record.licences == ("our own use", "research only", "Apache-2.0")
    assert {*record.seen} == {*OWN.subjects, *DRAWN.subjects, *PHOTOGRAPHED.subjects}
    # Nothing is added where the same data is found again.
    run.note_data(OWN)
    assert RunFolder.open(run.path).record == record


def test_a_licence_that_changed_stays_beside_the_new_one(tmp_path, tiny_config, weights):
    run = made(tmp_path / "run", tiny_config, PHOTOGRAPHED, weights=weights)
    freed = DataRecord("/data/photos", *(PHOTOGRAPHED.subjects, ("0003",), 9, "public domain"))
    run.note_data(freed)
    assert RunFolder.open(run.path).record.licences == ("public domain", "research only")


def test_what_an_earlier_version_did_not_record_is_unknown(tmp_path, tiny_config, weights):
    old = made(tmp_path / "old", tiny_config, DRAWN, weights=weights)
    forget_origins(old)
    record = RunFolder.open(old.path).record
    assert record.origins is None
    assert not record.origins_known
    assert record.licences == ("Apache-2.0", UNKNOWN_DONORS)
    assert UNKNOWN_DONORS in training_of(RunFolder.open(old.path)).licence
    # So it is in all runs that start from it, and when its own data changes.
    new = made(tmp_path / "new", tiny_config, OWN, donor=old, weights=weights)
    newest = made(tmp_path / "newest", tiny_config, OWN, donor=new, weights=weights)
    for run in (new, newest):
        assert RunFolder.open(run.path).record.licences[-1] == UNKNOWN_DONORS
    reopened = RunFolder.open(old.path)
    reopened.note_data(OWN, change="other people")
    again = RunFolder.open(old.path).record
    assert again.licences == ("our own use", "Apache-2.0", UNKNOWN_DONORS)


@pytest.mark.extended
def test_donors_people_are_not_scored(tmp_path, tiny_config, weights):
    data = tmp_path / "eyes"
    write_dataset(data, count=8, seed=3)
    donor = made(tmp_path / "donor", tiny_config, DRAWN, weights=weights)
    run = made(tmp_path / "run", tiny_config, OWN, donor=donor, weights=weights)

    def scored(run, data):
        asked = ["evaluate", str(run.path), "--estimator", "--data", str(data)]
        return CliRunner().invoke(main, asked)

    error = error_of(scored(run, data), "only-seen-subjects", data=data)
    assert "donor on synthetic" in error.fields["trained"]
    write_dataset(tmp_path / "others", count=8, seed=4)
    found = scored(run, tmp_path / "others")
    assert found.exit_code == 0, found.output
    assert "warning" not in found.stderr
    forget_origins(donor)
    assert "warning: the run" in scored(donor, tmp_path / "others").stderr


@pytest.mark.extended
def test_training_from_a_run_names_how_many_people_it_knows(tmp_path, tiny_changes, weights):
    config = load_config("mggr-edge", changes=tiny_changes)
    donor = made(
        tmp_path / "donor",
        config,
        DataRecord("synthetic", ("drawn-3-00000", "drawn-3-00001"), (), 9, "Apache-2.0"),
        weights=weights,
    )
    changes = [*tiny_changes, "synthetic.seed=3", "synthetic.subjects=2", "synthetic.per_group=2"]
    asked = ["train", "--stage", "coarse", "--from", str(donor.path), "--steps", "1"]
    asked += ["--out", str(tmp_path / "run"), *(a for c in changes for a in ("--set", c))]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert "2 of these subjects are training subjects of" in result.stderr
    record = RunFolder.open(tmp_path / "run").record
    assert [origin.run for origin in record.origins] == ["donor"]

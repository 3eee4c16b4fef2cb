"""An estimator that predicts the state of eyes: trained, recorded, validated, scored."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_tf.cli import main
from mggr_tf.config.files import load_config
from mggr_tf.data.closing_eyes import closing_people
from mggr_tf.data.names import SYNTHETIC_LICENCE
from mggr_tf.data.schema import STATES
from mggr_tf.evaluation.state_scores import score_state, separation, state_eyes, state_text
from mggr_tf.evaluation.trained import load_estimator, load_estimator_outputs
from mggr_tf.runs.adoption import weights_to_adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.stages import train_stages
from mggr_tf.training.stopping import Budget

pytestmark = pytest.mark.extended

ERRORS = [f"{name}_error" for name in STATES]
STATE_ON = (
    "models.estimator_state=true",
    "stages.estimator.losses=[{name: state, weight: 1.0}]",
    "stages.estimator.validation={every: 2, pairs: 8}",
    "synthetic={subjects: 2, per_group: 2, closing_subjects: 2, seed: 3}",
)


@pytest.fixture(scope="module")
def config(tiny_changes):
    plain = [one for one in tiny_changes if not one.startswith("stages.estimator.losses")]
    return load_config("mggr-edge", changes=[*plain, *STATE_ON])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config, samples):
    """A run on discs, of which nobody knows any state."""
    path = tmp_path_factory.mktemp("runs") / "run"
    data = DataRecord("discs", samples.subjects, (), len(samples), samples.licence)
    run = RunFolder.create(path, config, data)
    train_stages(
        run,
        "estimator",
        samples=samples,
        held_out=None,
        budget=Budget(steps=4),
        stream=None,
        notify=lambda text: None,
    )
    return run


def test_errors_of_the_state_are_logged_and_validated(trained):
    assert trained.is_complete("estimator")
    for metric in ERRORS:
        logged = trained.logged("estimator", metric)
        assert set(logged) == {1, 2, 3, 4}
        validated = trained.validated("estimator", metric)
        assert set(validated) == {2, 4}
        # A batch of two pairs may know none.
        assert all(0 <= value < 1 for value in logged.values())
        assert all(0 < value < 1 for value in validated.values())


def test_people_whose_eyes_close_are_among_the_run_s_origins(trained, config):
    people, held_out = closing_people(config.synthetic)
    record = RunFolder.open(trained.path).record
    (origin,) = record.origins
    assert origin.subjects == people
    assert origin.complete
    assert set(people) <= set(record.seen)
    assert not {*held_out} & {*record.seen}
    assert record.licences == ("Apache-2.0", SYNTHETIC_LICENCE)
    before = record
    trained.note_origins([origin])
    assert trained.record == before


def test_a_run_gives_gaze_and_state(trained, samples):
    outputs, gaze = load_estimator_outputs(trained), load_estimator(trained)
    inputs = {
        "eye": samples.images[:3].astype(np.float32) / 127.5 - 1,
        "head_pose": np.zeros((3, 2), np.float32),
    }
    made = outputs(inputs)
    assert made["state"].shape == (3, 3)
    np.testing.assert_array_equal(made["gaze"], gaze(inputs))


def test_evaluate_scores_states_on_drawn_eyes(trained, tmp_path, monkeypatch):
    from mggr_tf.data.columbia import write_dataset
    from mggr_tf.evaluation import score_run

    few = state_eyes(3, people=2)
    monkeypatch.setattr(score_run, "state_eyes", lambda seed, progress: few)
    write_dataset(tmp_path / "eyes", count=8, seed=5)
    json_file = tmp_path / "scores.json"
    asked = ["evaluate", str(trained.path), "--estimator", "--data", str(tmp_path / "eyes")]
    result = CliRunner().invoke(main, [*asked, "--json", str(json_file)])
    assert result.exit_code == 0, result.output
    found = json.loads(json_file.read_text())["scores"]["state"]
    assert found["patches"] == 48
    assert set(found["errors"]) == set(STATES)
    assert "openness" in result.stdout


def test_scores_of_a_perfect_estimator_are_perfect(config):
    eyes = state_eyes(3, people=2)
    rows = iter(np.split(eyes.state, range(256, len(eyes), 256)))
    found = score_state(lambda inputs: {"state": next(rows)}, eyes, conventions=config.conventions)
    assert found.people == 2
    assert found.errors == dict.fromkeys(STATES, 0.0) == found.free_errors
    assert found.closed.area == found.occluded.area == 1
    assert found.closed.low_found == found.closed.high_found == 1
    assert 0 < found.closed.threshold <= 0.16
    assert "1.0000" in state_text(found)
    nobody = dataclasses.replace(found, closed=None, occluded=None)
    assert "ROC" not in state_text(nobody)


def test_separation_counts_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 12, 40).astype(np.float32) / 20
    high = rng.integers(5, 20, 30).astype(np.float32) / 20
    found = separation(low, high)
    order = np.sign(high[None] - low[:, None])
    assert found.area == pytest.approx((order > 0).mean() + (order == 0).mean() / 2)
    assert found.eyes == (40, 30)
    best = max((low < t).mean() + (high >= t).mean() for t in np.linspace(0, 1, 2001))
    assert found.low_found + found.high_found == pytest.approx(best)
    assert (low < found.threshold).mean() == pytest.approx(found.low_found)
    assert (high >= found.threshold).mean() == pytest.approx(found.high_found)
    assert separation(low, high[:0]) is None


def test_a_donor_without_state_takes_it_off_the_config(config, tiny_config, tmp_path):
    assert config.for_donor(config) is config
    assert tiny_config.for_donor(config) is tiny_config
    without = config.for_donor(tiny_config)
    assert not without.models.estimator_state
    assert not without.asks_for_state("estimator")
    assert without.builds_alike("estimator", tiny_config)
    assert without.stage("joint") == config.stage("joint")
    other = load_config("mggr-paper")
    assert config.for_donor(other) is config, "another estimator fits neither way"
    donor = RunFolder.create(tmp_path / "donor", tiny_config, DataRecord("d", (), (), 0, "l"))
    donor.weights_file("estimator").parent.mkdir(exist_ok=True)
    donor.weights_file("estimator").write_bytes(b"")
    assert weights_to_adopt(without, donor) == ("estimator",)


def test_state_and_window_follow_the_donor_together():
    mine = load_config("mggr-synthetic", changes=["models.estimator_window=true"])
    no_state = [
        f"stages.{stage}.losses=[{{name: landmarks, weight: 0.5}}]"
        for stage in ("estimator", "adapted")
    ]
    neither = load_config(
        "mggr-synthetic",
        changes=["models.estimator_state=false", "models.estimator_window=false", *no_state],
    )
    fitting = mine.for_donor(neither)
    assert not fitting.models.estimator_window
    assert not fitting.models.estimator_state
    assert fitting.builds_alike("estimator", neither)

"""Photographs of people who look into the lens train the estimator that devices run."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import ConfigError, DataError, RunError, UsageError
from mggr_edge.models.conventions import Conventions
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import RedirectedPortraits
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.portraits import open_portraits, refuse_mixed_roles
from mggr_tf.data.source import Split
from mggr_tf.data.subject_split import SubjectSplit
from mggr_tf.evaluation.trained import load_estimator, load_exported
from mggr_tf.models.networks import Networks, load_weights
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.distribution import Preempted
from mggr_tf.training.estimator_step import EstimatorStep
from mggr_tf.training.portrait_batches import joined, redirected_portraits, with_portraits
from mggr_tf.training.stage_parts import check_shares, portrait_shares, stage_dataset, stage_shares
from mggr_tf.training.stage_watch import StageWatch
from mggr_tf.training.stages import train_stages
from mggr_tf.training.stopping import Budget
from mggr_tf.training.validation import portrait_errors
from portrait_folder import LICENCE, write_portraits
from refusals import refusal

pytestmark = pytest.mark.extended

RECIPE = "recipe=[estimator, coarse, joint, adapted]"
ADAPTED = (
    "stages.adapted={steps: 3, batch: 2, learning_rate: 1.0e-3, validation: {every: 2}, "
    "portraits: {pairs: 4, redirected: 2, pitch_range_deg: 10, yaw_range_deg: 15}}"
)
PORTRAITS = "stages.adapted.portraits"
DATA = DataRecord("discs", ("0000", "0001"), (), 24, "Apache-2.0")


@pytest.fixture(scope="module")
def config(tiny_changes):
    return load_config("mggr-edge", changes=[*tiny_changes, ADAPTED, RECIPE])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_portraits(tmp_path_factory.mktemp("portraits") / "eyes", people=6)


def opened(folder, config, **how):
    return open_portraits(
        str(folder), config=config, progress=no_progress, notify=lambda text: None, **how
    )


@pytest.fixture(scope="module")
def portraits(folder, config):
    names = [f"person-{number:02d}" for number in range(6)]
    split = SubjectSplit(train=tuple(names[:4]), select=(names[4],), report=(names[5],))
    return opened(folder, config, split=split)


def train(path, config, samples, portraits, *, stage="adapted", steps=3):
    new = not (path / "run.json").exists()
    record = DataRecord.of(portraits)
    run = RunFolder.create(path, config, DATA, portraits=record) if new else RunFolder.open(path)
    train_stages(
        run,
        stage,
        samples=samples,
        held_out=None,
        portraits=portraits,
        budget=Budget(steps=steps),
        stream=None,
        notify=lambda text: None,
    )
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config, samples, portraits):
    return train(tmp_path_factory.mktemp("runs") / "run", config, samples, portraits)


def weights(run, name):
    with np.load(run.weights_file(name)) as stored:
        return [stored[key] for key in sorted(stored.files)]


def test_a_split_says_who_is_trained_on_and_who_is_held_out(portraits, folder):
    assert portraits.source == str(folder)
    assert portraits.train.subjects == ("person-00", "person-01", "person-02", "person-03")
    assert portraits.aside == portraits.held_out.subjects == ("person-04",)
    assert portraits.train.licence == LICENCE
    np.testing.assert_array_equal(portraits.train.gaze_deg, 0)


def test_without_a_split_the_configs_share_is_held_out(folder, config):
    found = opened(folder, config)
    assert len(found.aside) == round(6 * config.held_out)
    assert {*found.aside} | {*found.train.subjects} == {f"person-{n:02d}" for n in range(6)}


def test_drawn_eyes_are_no_photographs(config):
    with refusal(UsageError, "portraits-synthetic", source="synthetic"):
        opened("synthetic", config)


def test_people_are_trained_on_or_held_out_in_all_data(portraits, samples):
    other = Split("eyes", samples, None, ("person-01",))
    shared = {"trained": portraits.source, "held_out": "eyes", "subjects": "person-01"}
    with refusal(DataError, "subject-in-both-roles", count=1, **shared):
        refuse_mixed_roles(other, portraits)
    shared = {"trained": "eyes", "held_out": "photos", "subjects": "0001"}
    with refusal(DataError, "subject-in-both-roles", count=1, **shared):
        refuse_mixed_roles(
            Split("eyes", samples, None), Split("photos", portraits.train, None, ("0001",))
        )


@pytest.mark.parametrize(
    ("change", "at", "saying"),
    [
        ("recipe=[estimator, adapted, coarse]", "top level", "recipe: adapted must be the last"),
        ("recipe=[estimator, adapted]", "top level", "recipe: adapted must be the last"),
        ("stages.adapted.portraits=null", "top level", "stages.adapted.portraits"),
        ("stages.joint.portraits={pairs: 2, redirected: 2}", "top level", "stages.joint.portraits"),
        ("stages.adapted.portraits.pairs=0", PORTRAITS, "pairs must be at least 1"),
        ("stages.adapted.portraits.redirected=0", PORTRAITS, "redirected must be at least 1"),
        ("stages.adapted.portraits.yaw_range_deg=60", PORTRAITS, "yaw_range_deg must be in"),
        (
            "stages.adapted.losses=[{name: state, weight: 1}]",
            "top level",
            "loss `state` in stages.adapted.losses",
        ),
        (
            "stages.adapted.losses=[{name: l1, weight: 1}]",
            "top level",
            "accepted losses: gaze_difference",
        ),
    ],
)
def test_a_config_that_cannot_be_trained_is_refused(tiny_changes, change, at, saying):
    with refusal(ConfigError, "invalid-value", at=at) as caught:
        load_config("mggr-edge", changes=[*tiny_changes, ADAPTED, change])
    assert saying in caught.value.fields["reason"]


def test_the_recipe_ends_before_the_stage_without_photographs(config):
    assert config.last_stage(portraits=True) == "adapted"
    assert config.last_stage(portraits=False) == "joint"
    assert config.needed("adapted") == ("estimator", "coarse", "joint")
    assert config.needed("fine") == ("estimator", "coarse")
    with refusal(ConfigError, "adapted-without-estimator", config=config.name):
        config.refuse_untrainable(["adapted"], has_estimator=False)


def test_the_photographs_batch_is_shared_by_devices_too(config):
    check_shares(config, ["adapted"], replicas=2)
    with refusal(ConfigError, "batch-not-divisible", stage="adapted", batch=2, devices=4):
        check_shares(config, ["adapted"], replicas=4)
    assert portrait_shares(config, "adapted", replicas=2).each == 2


def shown_gaze(inputs):
    """A stand-in for a redirector: grey levels that say which gaze it was asked for."""
    target = inputs["delta"] * np.float32(Conventions().delta_scale_deg)
    grey = np.zeros_like(inputs["eye"])
    grey[..., :2] = target[:, None, None] / 100
    return {"redirected": grey}


def test_each_eye_is_redirected_to_gazes_within_the_range(portraits):
    how = RedirectedPortraits(pairs=4, redirected=8, pitch_range_deg=10, yaw_range_deg=20)
    made = [
        redirected_portraits(portraits.train, shown_gaze, how, seed=seed, conventions=Conventions())
        for seed in (5, 5, 6)
    ]
    first = made[0]
    count = len(portraits.train)
    assert len(first) == count * 9
    np.testing.assert_array_equal(first.images[:count], portraits.train.images)
    np.testing.assert_array_equal(first.gaze_deg[:count], 0)
    redirected = first.gaze_deg[count:]
    assert np.all(np.abs(redirected).max(0) <= [10, 20])
    assert np.all(np.abs(redirected).max(0) > [7, 14])
    # The label is the gaze that the redirector was asked for.
    seen = (first.images[count:, 0, 0, :2].astype(float) / 127.5 - 1) * 100
    np.testing.assert_allclose(seen, redirected, atol=0.5)
    # A group is one eye of one person.
    for group in np.unique(first.group):
        rows = first.group == group
        assert rows.sum() == 9
        assert len({*zip(first.subject[rows], first.mirrored[rows], strict=True)}) == 1
    np.testing.assert_array_equal(made[1].gaze_deg, first.gaze_deg)
    assert np.abs(made[2].gaze_deg - first.gaze_deg).max() > 1


def test_what_photographs_lack_is_unknown_in_a_joined_batch():
    drawn = {
        "eye": tf.zeros([2, 4, 4, 3]),
        "source_landmarks": tf.zeros([2, 6, 2]),
        "source_gaze_weight": tf.zeros([2]),
    }
    photographed = {"eye": tf.ones([3, 4, 4, 3]), "source_gaze_weight": tf.ones([3])}
    batch = joined(drawn, photographed)
    assert batch["eye"].shape == (5, 4, 4, 3)
    # Evenly between each other.
    np.testing.assert_array_equal(batch["source_gaze_weight"], [1, 0, 1, 0, 1])
    unknown = np.isnan(batch["source_landmarks"]).all((1, 2))
    np.testing.assert_array_equal(unknown, [True, False, True, False, True])


@pytest.mark.extended
def test_photographs_behind_occluders_count_less(tiny_changes, samples, portraits):
    """Their occlusion is known, by the usual place of the lids; what was there before is not."""
    state = (
        "models.estimator_state=true",
        "stages.estimator.losses=[{name: state, weight: 1}]",
        "stages.adapted.losses=[{name: state, weight: 1}]",
        "stages.adapted.augmentation={occlusion: 1.0}",
        "stages.adapted.portraits.pairs=16",
    )
    config = load_config("mggr-edge", changes=[*tiny_changes, ADAPTED, *state])
    photographed = redirected_portraits(
        portraits.train,
        shown_gaze,
        config.stage("adapted").portraits,
        seed=1,
        conventions=config.conventions,
    )
    pairs = pair_dataset(
        samples,
        shares=stage_shares(config, "adapted"),
        seed=1,
        steps=(0, 1),
        augmentation=config.stage("adapted").augmentation,
        conventions=config.conventions,
        with_state=True,
    )
    shares = portrait_shares(config, "adapted")
    (batch,) = with_portraits(pairs, config, "adapted", photographed, shares=shares, steps=(0, 1))
    states = batch["source_state"].numpy()
    assert np.isnan(states[:, :2]).all()
    assert 0 <= states[:, 2].min() < 0.2 < states[:, 2].max() <= 1
    weights = batch["source_gaze_weight"].numpy()
    assert weights[states[:, 2] < 0.4].min() == 1
    assert weights[states[:, 2] > 0.75].max(initial=0) == 0


@pytest.mark.extended
def test_rows_with_unknown_landmarks_leave_the_weights_numbers(config, tiny_changes):
    losses = "stages.adapted.losses=[{name: landmarks, weight: 0.5}]"
    with_landmarks = load_config("mggr-edge", changes=[*tiny_changes, ADAPTED, losses])
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 40, (4, 6, 2)).astype(np.float32)
    points[2:] = np.nan
    batch = {
        "eye": tf.constant(rng.uniform(-1, 1, (4, 64, 64, 3)), tf.float32),
        "head_pose": tf.zeros([4, 2]),
        "gaze": tf.zeros([4, 2]),
        "landmarks": tf.constant(points),
    }
    networks = Networks(config)
    step = EstimatorStep(
        networks.adapted,
        with_landmarks.stage("adapted"),
        gaze_scale_deg=config.conventions.gaze_scale_deg,
        landmarks=6,
        total=tf.Variable(10, dtype=tf.int64),
        replicas=1,
    )
    before = networks.adapted.get_weights()
    assert all(np.isfinite(float(value)) for value in step(batch).values())
    after = networks.adapted.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert any(np.abs(new - old).max() > 0 for new, old in zip(after, before, strict=True))


def batches(config, samples, portraits, *, replicas=1, first=0, local=1):
    ours = {"replicas": replicas, "first": first, "local": local}
    pairs = stage_dataset(
        config, "adapted", samples, shares=stage_shares(config, "adapted", **ours), steps=(0, 2)
    )
    dataset = with_portraits(
        pairs,
        config,
        "adapted",
        portraits,
        shares=portrait_shares(config, "adapted", **ours),
        steps=(0, 2),
    )
    return [{name: value.numpy() for name, value in batch.items()} for batch in dataset]


@pytest.mark.extended
def test_devices_see_together_what_one_sees(config, samples, portraits):
    how = config.stage("adapted").portraits
    photographed = redirected_portraits(
        portraits.train, shown_gaze, how, seed=1, conventions=config.conventions
    )
    whole = batches(config, samples, photographed)
    parts = batches(config, samples, photographed, replicas=2, local=2)
    assert [len(batch["eye"]) for batch in whole] == [6, 6]
    for step, batch in enumerate(whole):
        for name, value in batch.items():
            two = np.concatenate([part[name] for part in parts[2 * step : 2 * step + 2]])
            np.testing.assert_allclose(two, value, atol=1e-5, err_msg=name)


@pytest.mark.extended
def test_devices_run_the_adapted_estimator_and_losses_ask_the_other(trained, config):
    run = trained
    assert run.is_complete("adapted")
    assert run.device_estimator == "adapted"
    before, after = weights(run, "estimator"), weights(run, "adapted")
    assert [w.shape for w in before] == [w.shape for w in after]
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before, after, strict=True))
    travelling = load_exported(run).estimator
    for one, other in zip(travelling.get_weights(), after, strict=True):
        np.testing.assert_array_equal(one, other)
    alone = Networks(config).estimator
    load_weights(alone, run.weights_file("adapted"))
    rng = np.random.default_rng(3)
    inputs = {
        "eye": rng.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32),
        "head_pose": np.zeros((2, 2), np.float32),
    }
    expected = alone(inputs, training=False)["gaze"]
    np.testing.assert_allclose(load_estimator(run)(inputs), expected, atol=1e-6)


@pytest.mark.extended
def test_the_adapted_stage_starts_from_the_estimator(trained, config, samples):
    networks = Networks(config)
    load_weights(networks.estimator, trained.weights_file("estimator"))
    for name in ("adapted", "estimator"):
        for one, other in zip(
            getattr(networks, name).get_weights(), weights(trained, "estimator"), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert networks.adapted is not networks.estimator


@pytest.mark.extended
def test_held_out_photographs_are_validated(trained, portraits):
    found = {
        name: trained.validated("adapted", name)
        for name in ("error_deg", "portrait_error_deg", "portrait_pitch_bias_deg")
    }
    assert all(list(values) == [2, 3] for values in found.values())


def test_portrait_errors_take_the_mean_of_both_eyes(portraits):
    held_out = portraits.held_out
    turn = np.where(held_out.mirrored, -1.0, 1.0)
    # Of one person: pitch 3 and 1 degrees too high, yaw 4 to the right, as the picture shows it.
    seen = np.stack([np.where(held_out.mirrored, 3.0, 1.0), 4 * turn], 1).astype(np.float32)
    found = portrait_errors(seen, held_out)
    assert found == pytest.approx(
        {
            "portrait_error_deg": np.hypot(2, 4),
            "portrait_pitch_bias_deg": 2,
            "portrait_yaw_bias_deg": 4,
        }
    )


@pytest.mark.extended
def test_the_run_records_both_sources(trained, folder):
    record = RunFolder.open(trained.path).record
    assert record.portraits.source == str(folder)
    assert record.portraits.held_out == ("person-04",)
    assert {*record.seen} == {"0000", "0001", *(f"person-{n:02d}" for n in range(4))}
    assert record.licences == ("Apache-2.0", LICENCE)
    assert record.data_names == ("discs", "eyes")


def test_without_photographs_the_stage_is_refused(tmp_path, config, samples):
    run = RunFolder.create(tmp_path / "run", config, DATA)
    with refusal(RunError, "photographs-missing"):
        train_stages(
            run,
            "adapted",
            samples=samples,
            held_out=None,
            budget=Budget(steps=2),
            stream=None,
            notify=lambda text: None,
        )


@pytest.mark.slow
def test_a_stage_that_was_stopped_goes_on_as_if_nothing_had_happened(
    trained, tmp_path, config, samples, portraits, monkeypatch
):
    base = train(tmp_path / "run", config, samples, portraits, stage="joint")
    for name in ("estimator", "coarse", "fine"):
        for one, other in zip(weights(base, name), weights(trained, name), strict=True):
            np.testing.assert_array_equal(one, other)
    validate = StageWatch._validate

    def stopped(self, step, writer):
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(self, step, writer)

    monkeypatch.setattr(StageWatch, "_validate", stopped)
    with pytest.raises(Preempted):
        train(base.path, config, samples, portraits)
    monkeypatch.undo()
    assert RunFolder.open(base.path).record.stages["adapted"].done == 2
    assert not RunFolder.open(base.path).has_weights("adapted")
    resumed = train(base.path, config, samples, portraits)
    for one, other in zip(weights(resumed, "adapted"), weights(trained, "adapted"), strict=True):
        np.testing.assert_array_equal(one, other)

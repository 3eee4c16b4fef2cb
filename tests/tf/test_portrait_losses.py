"""Photographs train the redirector: there and back, to where they look, past the discriminator."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import CycledPortraits
from mggr_tf.data.schema import EyeSamples
from mggr_tf.data.source import Split
from mggr_tf.models.networks import Networks
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.portrait_batches import (
    PortraitLosses,
    portraits_in,
    portraits_of_stage,
    with_portraits,
)
from mggr_tf.training.stage_parts import portrait_shares, stage_dataset, stage_shares
from mggr_tf.training.stages import train_stages
from mggr_tf.training.step import RedirectionStep
from mggr_tf.training.stopping import Budget
from refusals import refusal

pytestmark = pytest.mark.extended

CYCLED = "stages.joint.portraits={pairs: 4, cycle: 1.0, identity: 0.5, gaze: 0.2, adversarial: 0.1}"
TERMS = {"portrait_cycle", "portrait_identity", "portrait_gaze", "portrait_adversarial"}


def loaded(tiny_changes, *changes):
    return load_config("mggr-edge", changes=[*tiny_changes, *changes])


@pytest.fixture(scope="module")
def config(tiny_changes):
    return loaded(tiny_changes, CYCLED)


@pytest.fixture(scope="module")
def portraits(samples):
    """Each eye once, into the lens."""
    return EyeSamples(
        images=samples.images[:10],
        gaze_deg=np.zeros((10, 2), np.float32),
        head_deg=samples.head_deg[:10],
        subject=samples.subject[:10],
        group=np.arange(10, dtype=np.int32),
        source="photos",
        licence="public domain",
    )


def batches(config, samples, portraits, *, steps=(0, 2), **ours):
    pairs = stage_dataset(
        config, "joint", samples, shares=stage_shares(config, "joint", **ours), steps=steps
    )
    shares = portrait_shares(config, "joint", **ours)
    dataset = with_portraits(pairs, config, "joint", portraits, shares=shares, steps=steps)
    return list(dataset)


def step_of(config, networks):
    return RedirectionStep(
        networks,
        "joint",
        config.stage("joint"),
        moving_average=config.moving_average,
        total=tf.Variable(10, dtype=tf.int64),
        replicas=1,
    )


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        (["stages.joint.portraits={pairs: 4, cycle: 0.0}"], "one of them must be above 0"),
        (["stages.joint.portraits={pairs: 4, cycle: -1.0}"], "at least 0"),
        (["stages.joint.portraits={pairs: 4, cycle: 1.0, identity: 1.0}"], "gaze must be above 0"),
        (
            [CYCLED, "stages.joint.losses=[{name: adversarial, weight: 1}]"],
            "portraits.gaze needs the loss gaze",
        ),
        (
            ["stages.coarse.portraits={pairs: 4, cycle: 1.0, gaze: 0.1}"],
            "stages.coarse.portraits: ",
        ),
        (
            [CYCLED, "stages.joint.losses=[{name: l1, weight: 1}]"],
            "portraits.adversarial needs a discriminator",
        ),
    ],
)
def test_a_config_that_cannot_be_trained_is_refused(tiny_changes, changes, saying):
    with refusal(ConfigError, "invalid-value") as caught:
        loaded(tiny_changes, *changes)
    assert saying in caught.value.fields["reason"]


def test_photographs_stand_beside_the_pairs_with_random_targets(config, samples, portraits):
    assert portraits_of_stage(config, "joint", portraits, None, progress=None) is portraits
    assert portraits_of_stage(config, "coarse", portraits, None, progress=None) is None
    first, second = (portraits_in(batch) for batch in batches(config, samples, portraits))
    assert set(first) == {"eye", "gazemap", "delta", "head_pose", "source_gaze", "target_gaze"}
    assert first["eye"].shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(first["source_gaze"], 0)
    targets = np.concatenate([first["target_gaze"], second["target_gaze"]])
    assert np.all(np.abs(targets).max(0) <= [15, 20])
    assert len(np.unique(targets[:, 0])) == 8
    np.testing.assert_allclose(
        first["delta"], first["target_gaze"] / config.conventions.delta_scale_deg, rtol=1e-6
    )
    (again,) = batches(config, samples, portraits, steps=(1, 2))
    np.testing.assert_array_equal(portraits_in(again)["eye"], second["eye"])


def test_devices_see_together_what_one_sees(config, samples, portraits):
    whole = batches(config, samples, portraits)
    parts = batches(config, samples, portraits, replicas=2, local=2)
    for step, batch in enumerate(whole):
        for name, value in batch.items():
            two = np.concatenate([part[name] for part in parts[2 * step : 2 * step + 2]])
            np.testing.assert_allclose(two, value, atol=1e-5, err_msg=name)


@pytest.mark.extended
def test_every_term_is_logged_and_adds_to_the_loss_by_its_weight(config, samples, portraits):
    """A fresh redirector nearly returns its input: its opacity is 0.018."""
    (batch,) = batches(config, samples, portraits, steps=(0, 1))
    found = step_of(config, Networks(config))(batch)
    assert set(found) >= TERMS
    assert float(found["portrait_cycle"]) == pytest.approx(0, abs=0.04)
    assert float(found["portrait_identity"]) == pytest.approx(0, abs=0.02)
    without = {name: value for name, value in batch.items() if not name.startswith("portrait_")}
    plain = step_of(config, Networks(config))(without)
    assert not set(plain) & TERMS
    more = float(found["loss"]) - float(plain["loss"])
    weights = {"cycle": 1.0, "identity": 0.5, "gaze": 0.2, "adversarial": 0.1}
    expected = sum(weight * float(found[f"portrait_{name}"]) for name, weight in weights.items())
    assert more == pytest.approx(expected, abs=1e-5)
    assert float(found["l1"]) == pytest.approx(float(plain["l1"]), rel=1e-5)


def test_an_eye_that_should_stay_is_told_the_errors_of_its_source(tiny_changes, samples, portraits):
    """The identity term asks for no change although the source gaze that it names is off."""
    error = "stages.joint.augmentation.source_gaze_deg=3.0"
    noisy = loaded(tiny_changes, CYCLED, error)
    (batch,) = batches(noisy, samples, portraits, steps=(0, 1))
    photographs = {name: tf.constant(value) for name, value in portraits_in(batch).items()}
    asked = []

    def redirect(inputs):
        asked.append(inputs)
        return {"redirected": inputs["eye"]}

    PortraitLosses(
        CycledPortraits(pairs=4, identity=1.0, gaze=0.1),
        (),
        redirect=redirect,
        back=None,
        estimate=lambda inputs: tf.zeros([4, 2]),
        gazemap=lambda gaze: gaze,
        conventions=noisy.conventions,
        features=None,
        shown=None,
        discriminator=None,
    )(photographs)
    there, still = asked
    scale = np.float32(noisy.conventions.delta_scale_deg)
    named_deg = there["target_gaze"] - there["delta"] * scale
    assert 1 < np.abs(named_deg).mean() < 6
    np.testing.assert_allclose(still["delta"] * scale, -named_deg, atol=1e-4)
    np.testing.assert_array_equal(still["gazemap"], photographs["source_gaze"])


def test_the_gaze_term_is_of_the_change_alone(config, samples, portraits):
    """An estimator that is off by the same on a photograph and its redirected version."""
    (batch,) = batches(config, samples, portraits, steps=(0, 1))
    photographs = {name: tf.constant(value) for name, value in portraits_in(batch).items()}
    scale = np.float32(config.conventions.gaze_scale_deg)

    def aim(reached):
        """The term for an eye that goes a share of the way."""

        def estimate(inputs):
            is_source = np.array_equal(inputs["eye"], photographs["eye"])
            way_deg = 0 if is_source else reached * photographs["target_gaze"]
            return (photographs["source_gaze"] + way_deg + [4.0, -2.0]) / scale

        losses = PortraitLosses(
            CycledPortraits(pairs=4, gaze=1.0),
            (),
            redirect=lambda inputs: {"redirected": inputs["eye"] + 0.01},
            back=None,
            estimate=estimate,
            gazemap=lambda gaze: gaze,
            conventions=config.conventions,
            features=None,
            shown=None,
            discriminator=None,
        )
        return float(losses(photographs)[2]["portrait_gaze"])

    assert aim(1.0) == pytest.approx(0, abs=1e-6)
    assert 0 < aim(0.5) < aim(0.0)


@pytest.mark.extended
def test_the_discriminator_sees_photographs_only_with_an_adversarial_weight(
    tiny_changes, config, samples, portraits
):
    (batch,) = batches(config, samples, portraits, steps=(0, 1))
    without = {name: value for name, value in batch.items() if not name.startswith("portrait_")}
    unseen = loaded(tiny_changes, "stages.joint.portraits={pairs: 4, cycle: 1.0, gaze: 0.2}")

    def critics_loss(config, batch):
        return float(step_of(config, Networks(config))(batch)["discriminator"])

    plain = critics_loss(config, without)
    assert critics_loss(unseen, batch) == pytest.approx(plain, rel=1e-5)
    assert critics_loss(config, batch) != pytest.approx(plain, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("term", ["cycle", "identity"])
def test_a_redirector_learns_to_keep_photographs(tiny_changes, samples, portraits, term):
    """From weights that spoil pictures the term falls, with a tiny loss beside it."""
    config = loaded(
        tiny_changes,
        f"stages.joint.portraits={{pairs: 4, {term}: 1.0, gaze: 1.0e-6}}",
        "stages.joint.losses=[{name: l1, weight: 1.0e-6}, {name: gaze, weight: 1.0e-6}]",
        "stages.joint.learning_rate=3.0e-3",
    )
    networks = Networks(config)
    rng = np.random.default_rng(1)
    for part in (networks.redirection.coarse, networks.redirection.fine):
        part.set_weights([w + rng.normal(0, 0.05, w.shape) for w in part.get_weights()])
    step = RedirectionStep(
        networks,
        "joint",
        config.stage("joint"),
        moving_average=0.9,
        total=tf.Variable(1000, dtype=tf.int64),
        replicas=1,
    )
    run = tf.function(step)
    found = [
        float(run(batch)[f"portrait_{term}"])
        for batch in batches(config, samples, portraits, steps=(0, 40))
    ]
    assert np.mean(found[-5:]) < 0.6 * np.mean(found[:5])


@pytest.mark.extended
def test_several_updates_of_the_critic_share_the_photographs(tiny_changes, samples, portraits):
    config = loaded(
        tiny_changes,
        CYCLED,
        "stages.joint.adversary={game: wasserstein, penalty: between, penalty_weight: 10.0, "
        "critic_steps: 2}",
    )
    (batch,) = batches(config, samples, portraits, steps=(0, 1))
    assert batch["eye"].shape[0] == 4
    assert batch["portrait_eye"].shape[0] == 8
    found = step_of(config, Networks(config))(batch)
    assert all(np.isfinite(float(value)) for value in found.values())


@pytest.mark.slow
@pytest.mark.extended
def test_a_joint_stage_trains_on_the_photographs_of_a_run(tmp_path, config, samples, portraits):
    data = DataRecord("discs", ("0000", "0001"), (), 24, "Apache-2.0")
    run = RunFolder.create(tmp_path / "run", config, data)
    train_stages(
        run,
        "joint",
        samples=samples,
        held_out=None,
        portraits=Split("photos", portraits, None),
        budget=Budget(steps=2),
        stream=None,
        notify=lambda text: None,
    )
    assert run.is_complete("joint")
    for name in TERMS:
        assert list(run.logged("joint", name)) == [1, 2]
    assert not run.logged("coarse", "portrait_cycle")

"""An estimator learns from pairs and from single eyes, and not from what is unknown."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import DataError
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import Augmentation, LossConfig
from mggr_tf.data.pairs import Closing, pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.drawn_eyes.rendered import USUAL_REGION
from mggr_tf.models.networks import Networks
from mggr_tf.training.estimator_step import EstimatorStep, _difference_miss, single_eyes
from refusals import refusal

STATE_ON = (
    "models.estimator_state=true",
    "stages.estimator.losses=[{name: state, weight: 1.0}]",
)
NAN = float("nan")


@pytest.fixture
def config(tiny_changes):
    plain = [one for one in tiny_changes if not one.startswith("stages.estimator.losses")]
    return load_config("mggr-edge", changes=[*plain, *STATE_ON])


@pytest.fixture
def closing(samples):
    """The discs again, each said to be in a state that its gaze tells."""
    openness = (samples.gaze_deg[:, 0] + 15) / 60
    state = np.stack([openness, 2 * openness, np.zeros(24)], 1).astype(np.float32)
    region = np.tile(np.float32(USUAL_REGION), (24, 1, 1))
    return dataclasses.replace(samples, state=state, lid_region=region)


def step_of(config, *, stage="estimator", landmarks=0, steps=60):
    return EstimatorStep(
        getattr(Networks(config), stage),
        config.stage(stage),
        gaze_scale_deg=config.conventions.gaze_scale_deg,
        landmarks=landmarks,
        total=tf.Variable(steps, dtype=tf.int64),
        replicas=1,
    )


def batches(samples, config, *, closing=None, share=0.5, count=1, batch=8, **asked):
    return list(
        pair_dataset(
            samples,
            shares=Shares(batch),
            seed=5,
            steps=(0, count),
            augmentation=Augmentation(occlusion=0.5),
            conventions=config.conventions,
            closing=None if closing is None else Closing(closing, share),
            **asked,
        )
    )


def rows(count=4, **labels):
    """A batch of single eyes: noise, straight ahead."""
    rng = np.random.default_rng(2)
    batch = {
        "eye": rng.uniform(-1, 1, (count, 64, 64, 3)),
        "head_pose": np.zeros((count, 2)),
        "gaze": rng.uniform(-10, 10, (count, 2)),
        "state": np.full((count, 3), NAN),
        **labels,
    }
    return {name: tf.constant(value, tf.float32) for name, value in batch.items()}


def weights(step):
    return [value.numpy() for value in step.state()["model"].trainable_weights]


@pytest.mark.extended
def test_pairs_hold_states_and_weights_where_eyes_close_among_them(config, samples, closing):
    (batch,) = batches(samples, config, closing=closing, batch=64)
    for which in ("source", "target"):
        state = batch[f"{which}_state"].numpy()
        assert state.shape == (64, 3)
        known = ~np.isnan(state[:, 0])
        assert 20 < known.sum() < 44, "about a half of them"
        assert np.isfinite(state[:, 2]).all(), "discs are taken to lie where eyes do"
        weight = batch[f"{which}_gaze_weight"].numpy()
        assert ((weight >= 0) & (weight <= 1)).all()
        assert (weight[known & (state[:, 1] < 0.1)] == 0).all()
        assert (weight[~known & (state[:, 2] < 0.2)] == 1).all()
        hidden = state[:, 2] > 0.8
        assert (weight[hidden] == 0).all()
    assert not any(name.endswith("state") for name in batches(samples, config)[0])


@pytest.mark.extended
def test_devices_see_the_rows_of_one_device_when_eyes_close_among_them(config, samples, closing):
    how = {
        "seed": 5,
        "steps": (0, 2),
        "augmentation": Augmentation(occlusion=0.5, stretch=0.1),
        "conventions": config.conventions,
        "closing": Closing(closing, 0.5),
    }
    whole = list(pair_dataset(samples, shares=Shares(8), **how))
    halves = [list(pair_dataset(samples, shares=Shares(8, 2, n, 1), **how)) for n in (0, 1)]
    for step, batch in enumerate(whole):
        for name, value in batch.items():
            together = np.concatenate([half[step][name] for half in halves])
            np.testing.assert_allclose(together, value, atol=1e-5, err_msg=name)


def test_states_must_be_known_of_eyes_that_close(config, samples):
    with refusal(DataError, "eye-state-unknown", source=samples.source):
        samples.known_state()


@pytest.mark.extended
def test_a_batch_of_pairs_is_one_of_single_eyes(config, samples, closing):
    (pairs,) = batches(samples, config, closing=closing)
    eyes = single_eyes(pairs)
    assert {name: value.shape[0] for name, value in eyes.items()} == dict.fromkeys(
        ("eye", "head_pose", "gaze", "gaze_weight", "state"), 16
    )
    np.testing.assert_array_equal(eyes["eye"][0::2], pairs["eye"])
    np.testing.assert_array_equal(eyes["eye"][1::2], pairs["target"])
    np.testing.assert_array_equal(eyes["state"][1::2], pairs["target_state"])
    one, other = step_of(config), step_of(config)
    first, second = one(pairs), other(eyes)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], err_msg=name)
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.extended
def test_a_state_is_learned_beside_gaze(config, samples, closing):
    (batch,) = batches(closing, config, closing=closing, batch=12)
    step = step_of(config, steps=80)
    traced = tf.function(step)
    seen = [{k: float(v) for k, v in traced(batch).items()} for _ in range(80)]
    for name in ("openness_error", "iris_visible_error", "occlusion_error", "loss"):
        assert seen[-1][name] < 0.75 * seen[0][name], name
    network = step.state()["model"]
    made = network({k: single_eyes(batch)[k] for k in ("eye", "head_pose")}, training=False)
    assert made["state"].shape == (24, 3)
    assert made["gaze"].shape == (24, 2)
    assert 0 <= float(tf.reduce_min(made["state"])) < float(tf.reduce_max(made["state"])) <= 1


def test_what_is_unknown_teaches_nothing(config):
    step = step_of(config)
    before = weights(step)
    metrics = {k: float(v) for k, v in step(rows(gaze_weight=np.zeros(4))).items()}
    assert metrics["loss"] == 0
    assert metrics["pitch_error_deg"] == metrics["openness_error"] == 0
    for a, b in zip(before, weights(step), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.extended
def test_metrics_are_means_of_what_is_known(config):
    state = [[0.1, NAN, 0.5], [0.3, NAN, NAN], [NAN] * 3, [NAN] * 3]
    batch = rows(gaze_weight=[1, 0, 0, 0], state=state)
    known = {k: v for k, v in step_of(config)(batch).items() if k.endswith("error")}
    assert float(known["iris_visible_error"]) == 0
    # The head's first answers are near one half.
    assert float(known["openness_error"]) == pytest.approx(0.3, abs=0.15)
    assert float(known["occlusion_error"]) == pytest.approx(0, abs=0.15)
    gazes = [step_of(config)(rows(gaze_weight=w)) for w in ([1, 0, 0, 0], [1, 1, 1, 1])]
    assert float(gazes[0]["yaw_error_deg"]) != pytest.approx(float(gazes[1]["yaw_error_deg"]))


def test_landmarks_may_be_unknown_of_some_rows(tiny_changes, samples):
    plain = [one for one in tiny_changes if not one.startswith("stages.estimator.losses")]
    config = load_config(
        "mggr-edge",
        changes=[*plain, "stages.estimator.losses=[{name: landmarks, weight: 0.5}]"],
    )
    step = step_of(config, landmarks=6)
    points = np.full((4, 6, 2), NAN)
    points[0] = 30
    batch = {k: v for k, v in rows(landmarks=points).items() if k != "state"}
    metrics = step(batch)
    assert np.isfinite(float(metrics["loss"]))
    assert float(metrics["landmark_error_px"]) > 0


@pytest.mark.parametrize("window", [False, True])
def test_with_a_window_the_gaze_does_not_depend_on_the_surroundings(tiny_changes, window):
    on = f"models.estimator_window={str(window).lower()}"
    estimator = Networks(load_config("mggr-edge", changes=[*tiny_changes, on])).estimator
    pictures = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    pictures[1, 14:50] = pictures[0, 14:50]  # other brow and cheek
    inputs = {"eye": pictures, "head_pose": np.zeros((2, 2), np.float32)}
    brow, eye = estimator(inputs, training=False)["gaze"].numpy()
    assert (np.abs(brow - eye).max() == 0) == window
    pictures[1, 28:36] = 0
    with_eye, without_eye = estimator(inputs, training=False)["gaze"].numpy()
    assert np.abs(with_eye - without_eye).max() > 0


def test_the_judge_takes_single_eyes_and_knows_no_state(config):
    step = step_of(config, stage="judge")
    metrics = step({k: v for k, v in rows().items() if k != "state"})
    assert set(metrics) == {"loss", "pitch_error_deg", "yaw_error_deg"}
    assert Networks(config).judge.output_shape == {"gaze": (None, 2)}


def difference_loss(asked, answered, counts):
    return float(
        _difference_miss(*(tf.constant(values, tf.float32) for values in (answered, asked, counts)))
    )


def test_the_difference_within_pairs_counts_and_what_both_miss_does_not():
    asked = np.array([[0, 0], [1, -1], [0.2, 0.3], [0.5, 0.5]])
    assert difference_loss(asked, asked + [2.0, -3.0], np.ones(4)) == pytest.approx(0, abs=1e-6)
    half = asked * 0.5
    # Huber with delta 0.5, mean over both angles, mean over both pairs.
    miss = [0.5 * 0.5 - 0.125, np.mean([0.15**2 / 2, 0.1**2 / 2])]
    assert difference_loss(asked, half, np.ones(4)) == pytest.approx(np.mean(miss), rel=1e-5)
    assert difference_loss(asked, half, [1, 0, 1, 1]) == pytest.approx(miss[1] / 2, rel=1e-5)


@pytest.mark.extended
def test_a_loss_on_differences_trains_pairs_alone(config, samples, closing):
    stage = config.stage("estimator")
    wanted = (*stage.losses, LossConfig("gaze_difference", 1.0))
    asked = dataclasses.replace(stage, losses=wanted)
    with_it = dataclasses.replace(config, stages={**config.stages, "estimator": asked})
    without = config
    (pairs,) = batches(samples, config, closing=closing)
    losses = [float(step_of(one)(pairs)["loss"]) for one in (with_it, without)]
    assert losses[0] > losses[1]
    single = rows(gaze=np.zeros((4, 2)))
    losses = [float(step_of(one)(single)["loss"]) for one in (with_it, without)]
    assert losses[0] == losses[1]

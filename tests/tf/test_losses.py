"""Losses: closed forms, and zero where nothing differs."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.config.stages import OF_ESTIMATOR, AdversaryConfig, LossName
from mggr_tf.training.losses import LOSSES, LossContext, discriminator_loss, gradient_penalty

rng = np.random.default_rng(0)


def context(**changes):
    picture = tf.constant(rng.uniform(-1, 1, (2, 16, 16, 3)), tf.float32)
    relu1 = tf.constant(rng.uniform(0, 1, (2, 4, 4, 64)), tf.float32)
    features = {"relu1": relu1}
    gaze = tf.constant([[0.5, 0.0], [1.0, 1.0]])
    given = {
        "source": picture,
        "cycled": picture,
        "picture": picture,
        "target": picture,
        "flow": tf.zeros([2, 16, 16, 2]),
        "exact_flow": tf.zeros([2, 16, 16, 2]),
        "flow_seen": tf.ones([2, 16, 16]),
        "target_gaze": gaze,
        "seen_gaze": gaze,
        "features": features,
        "target_features": features,
        "efficientnet": (features, features),
        "verdict": {"realness": tf.zeros([2, 2, 2, 1]), "gaze": gaze},
    }
    return LossContext(**{**given, **changes})


def test_every_loss_on_the_redirection_has_a_function():
    assert set(LOSSES) == set(get_args(LossName)) - OF_ESTIMATOR


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_picture_costs_nothing_per_example(name):
    value = LOSSES[name](context())
    assert value.shape == (2,)
    np.testing.assert_allclose(value, 0, atol=1e-6)


def test_l1_is_the_mean_difference():
    target = context().target
    np.testing.assert_allclose(
        LOSSES["l1"](context(target=target, picture=target + 0.25)), 0.25, rtol=1e-5
    )


def test_gaze_is_the_squared_error_of_the_estimator():
    wanted = tf.constant([[0.5, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(LOSSES["gaze"](context(target_gaze=wanted)), [0, 0.5])
    np.testing.assert_allclose(LOSSES["discriminator_gaze"](context(target_gaze=wanted)), [0, 0.5])


def test_flow_smoothness_of_a_ramp_is_its_slope():
    ramp = tf.broadcast_to(tf.range(16, dtype=tf.float32)[None, None, :, None] * 3, [2, 16, 16, 2])
    np.testing.assert_allclose(LOSSES["flow_smoothness"](context(flow=ramp)), 3)


def test_exact_flow_counts_where_it_is_known_alone():
    off = np.zeros((2, 16, 16, 2), np.float32)
    off[:, :8] = (3.0, -4.0)
    off[:, 8:] = 100.0
    seen = np.zeros((2, 16, 16), np.float32)
    seen[:, :8] = 1.0
    value = LOSSES["exact_flow"](context(flow=tf.constant(off), flow_seen=tf.constant(seen)))
    np.testing.assert_allclose(value, 5.0 * 128 / 129, rtol=0.01)
    nothing = LOSSES["exact_flow"](context(flow=tf.constant(off), flow_seen=tf.zeros([2, 16, 16])))
    np.testing.assert_allclose(nothing, 0)


def test_perceptual_does_not_depend_on_the_features_scale():
    def loss(scale):
        real = {"features0": scale * tf.ones([2, 4, 4, 3])}
        ours = {"features0": scale * 1.5 * tf.ones([2, 4, 4, 3])}
        return LOSSES["perceptual"](context(features=ours, target_features=real))

    np.testing.assert_allclose(loss(1.0), 0.25, rtol=1e-4)
    np.testing.assert_allclose(loss(100.0), 0.25, rtol=1e-4)


def test_ssim_is_worse_for_noise_than_for_a_shift_of_brightness():
    target = context().target
    noisy = target + 0.3 * tf.constant(rng.normal(size=target.shape), tf.float32)
    brighter = context(target=target, picture=target + 0.1)
    assert np.all(LOSSES["ssim"](context(target=target, picture=noisy)) > LOSSES["ssim"](brighter))


def test_the_generator_wants_a_higher_score():
    verdict = {"realness": 2 * tf.ones([2, 2, 2, 1]), "gaze": tf.zeros([2, 2])}
    np.testing.assert_allclose(LOSSES["adversarial"](context(verdict=verdict)), -2)


def test_style_sees_which_channels_go_together_and_not_where():
    maps = tf.constant(rng.uniform(0, 1, (1, 4, 4, 3)), tf.float32)
    moved = tf.reverse(maps, axis=[1])
    real = {"features0": maps, "gaze": tf.zeros([1, 2])}

    def loss(ours):
        given = {"features0": ours}
        return LOSSES["style"](context(features=given, target_features=real))

    np.testing.assert_allclose(loss(moved), 0, atol=1e-6)
    # Twice the features give four times the matrix: a difference of three.
    np.testing.assert_allclose(loss(2 * maps), 9, rtol=1e-4)


def test_the_cycle_is_compared_with_the_source():
    given = context()
    off = context(source=given.source, cycled=given.source - 0.25)
    np.testing.assert_allclose(LOSSES["cycle"](off), 0.25, rtol=1e-5)


def paid(real, fake, gaze, *, with_gaze=True, **how):
    return float(
        discriminator_loss(
            real, fake, real_gaze=gaze, how=AdversaryConfig(**how), with_gaze=with_gaze
        )[0]
    )


def test_the_discriminator_pays_for_each_side_of_the_hinge_and_for_real_angles_only():
    gaze = tf.constant([[1.0, 0.0]])
    sure = {"realness": 2 * tf.ones([1, 2, 2, 1]), "gaze": gaze}
    fooled = {"realness": tf.ones([1, 2, 2, 1]), "gaze": gaze + 100}
    convinced = {"realness": -2 * tf.ones([1, 2, 2, 1]), "gaze": gaze + 100}
    assert paid(sure, convinced, gaze) == 0
    assert paid(sure, fooled, gaze) == 2
    off = {**sure, "gaze": gaze + 1}
    assert paid(off, convinced, gaze) == 1
    assert paid(off, convinced, gaze, gaze_weight=5.0) == 5
    assert paid(off, convinced, gaze, with_gaze=False) == 0


def test_the_wasserstein_critic_pays_the_difference_of_scores():
    gaze = tf.zeros([1, 2])
    real = {"realness": 3 * tf.ones([1, 2, 2, 1]), "gaze": gaze}
    fake = {"realness": 5 * tf.ones([1, 2, 2, 1]), "gaze": gaze}
    assert paid(real, fake, gaze, game="wasserstein") == 2


def penalty(kind, slope, mix):
    """Of a critic that is linear in its picture, whose gradient is `slope` everywhere."""
    real, fake = tf.ones([2, 4, 4, 3]), tf.zeros([2, 4, 4, 3])
    return gradient_penalty(
        lambda at: slope * tf.reduce_sum(at, [1, 2, 3], keepdims=True),
        real,
        fake,
        how=AdversaryConfig(penalty=kind, penalty_weight=1.0),
        mix=tf.fill([2, 1, 1, 1], mix),
    )


def test_penalties_of_a_linear_critic_have_closed_forms():
    norm = 0.5 * np.sqrt(4 * 4 * 3)
    np.testing.assert_allclose(penalty("real", 0.5, 0.3), norm**2 / 2, rtol=1e-5)
    np.testing.assert_allclose(penalty("between", 0.5, 0.3), (norm - 1) ** 2, rtol=1e-5)


def test_penalties_look_where_they_should():
    """A critic that is quadratic in its picture: its gradient tells where it was taken."""

    def squared(at):
        return tf.reduce_sum(at**2, [1, 2, 3], keepdims=True) / 2

    real, fake = tf.fill([1, 1, 1, 1], 3.0), tf.fill([1, 1, 1, 1], 1.0)
    for kind, wanted in (("real", 3.0**2 / 2), ("between", (1.5 - 1) ** 2)):
        how = AdversaryConfig(penalty=kind, penalty_weight=1.0)
        mix = tf.fill([1, 1, 1, 1], 0.25)  # 0.25 * 3 + 0.75 * 1 = 1.5
        found = gradient_penalty(squared, real, fake, how=how, mix=mix)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_penalty_and_its_weight_go_together():
    with pytest.raises(ValueError, match="both penalty and penalty_weight"):
        AdversaryConfig(penalty="real")
    with pytest.raises(ValueError, match="both penalty and penalty_weight"):
        AdversaryConfig(penalty_weight=1.0)


def test_efficientnet_compares_directions_and_not_lengths():
    ours = {"level": tf.constant([[[[3.0, 0.0]]], [[[3.0, 0.0]]], [[[2.0, 0.0]]]])}
    real = {"level": tf.constant([[[[1.0, 0.0]]], [[[0.0, 5.0]]], [[[-1.0, 0.0]]]])}
    found = LOSSES["efficientnet"](context(efficientnet=(ours, real)))
    np.testing.assert_allclose(found, [0.0, 2.0, 4.0], atol=1e-6)


def test_efficientnet_sums_over_levels_and_averages_over_places():
    ours = {"a": tf.constant([[[[1.0, 0.0], [1.0, 0.0]]]]), "b": tf.constant([[[[1.0, 0.0]]]])}
    real = {"a": tf.constant([[[[1.0, 0.0], [0.0, 1.0]]]]), "b": tf.constant([[[[0.0, 1.0]]]])}
    assert float(LOSSES["efficientnet"](context(efficientnet=(ours, real)))[0]) == 3.0

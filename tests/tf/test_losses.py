"""Losses: closed forms, and zero where there is nothing to mend."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.losses import LOSSES, LossContext, discriminator_loss

rng = np.random.default_rng(0)


def context(**changes):
    picture = tf.constant(rng.uniform(-1, 1, (2, 16, 16, 3)), tf.float32)
    features = {"features0": tf.ones([2, 4, 4, 3]), "gaze": tf.constant([[0.5, 0.0], [1.0, 1.0]])}
    given = {
        "picture": picture,
        "target": picture,
        "flow": tf.zeros([2, 16, 16, 2]),
        "target_gaze": features["gaze"],
        "features": features,
        "target_features": features,
        "verdict": {"realness": tf.zeros([2, 2, 2, 1]), "gaze": features["gaze"]},
    }
    return LossContext(**{**given, **changes})


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


def test_perceptual_does_not_depend_on_the_features_scale():
    def loss(scale):
        real = {"features0": scale * tf.ones([2, 4, 4, 3]), "gaze": tf.zeros([2, 2])}
        ours = {"features0": scale * 1.5 * tf.ones([2, 4, 4, 3]), "gaze": tf.zeros([2, 2])}
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


def test_the_discriminator_pays_for_each_side_of_the_hinge_and_for_real_angles_only():
    gaze = tf.constant([[1.0, 0.0]])
    sure = {"realness": 2 * tf.ones([1, 2, 2, 1]), "gaze": gaze}
    fooled = {"realness": tf.ones([1, 2, 2, 1]), "gaze": gaze + 100}
    convinced = {"realness": -2 * tf.ones([1, 2, 2, 1]), "gaze": gaze + 100}
    assert discriminator_loss(sure, convinced, real_gaze=gaze)[0] == 0
    assert discriminator_loss(sure, fooled, real_gaze=gaze)[0] == 2
    off = {**sure, "gaze": gaze + 1}
    assert discriminator_loss(off, convinced, real_gaze=gaze)[0] == 1

"""The networks: budgets, beginnings and shapes."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import RunError
from mggr_tf.config import load_config
from mggr_tf.evaluation.complexity import multiply_accumulates
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.models.warp import BackwardWarp

rng = np.random.default_rng(0)


def inputs(batch=2, size=64):
    return {
        "eye": tf.constant(rng.uniform(-1, 1, (batch, size, size, 3)), tf.float32),
        "gazemap": tf.constant(rng.uniform(0, 1, (batch, size, size, 2)), tf.float32),
        "delta": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
        "head_pose": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
    }


def test_an_untrained_redirector_is_the_identity(tiny_config):
    made = Networks(tiny_config).redirection.joined(given := inputs())
    np.testing.assert_allclose(made["flow"], 0, atol=2e-3)
    np.testing.assert_array_equal(made["residual"], np.zeros((2, 64, 64, 3)))
    np.testing.assert_allclose(made["redirected"], given["eye"], atol=4e-3)


def test_the_first_step_already_moves_the_flow(tiny_config):
    """At exactly zero flow the warp would pass no gradient at all."""
    model = Networks(tiny_config).redirection.coarse
    given = inputs()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(BackwardWarp()([given["eye"], model(given)])))
    assert np.abs(tape.gradient(loss, model.get_layer("flow_head").kernel)).max() > 1e-6


def test_the_edge_size_keeps_its_budget():
    redirector = Networks(load_config("mggr-edge")).redirection.joined
    assert redirector.count_params() <= 400_000
    assert multiply_accumulates(redirector) <= 60e6


def test_the_paper_size_is_about_prgans():
    redirector = Networks(load_config("mggr-paper")).redirection.joined
    assert redirector.count_params() == pytest.approx(8.42e6, rel=0.1)
    assert multiply_accumulates(redirector) == pytest.approx(2.45e9, rel=0.1)


def test_macs_of_one_convolution_are_counted_by_the_formula():
    eye = tf.keras.Input((64, 64, 3))
    model = tf.keras.Model(eye, tf.keras.layers.Conv2D(5, 3, 2, "same", use_bias=False)(eye))
    assert multiply_accumulates(model) == 32 * 32 * 9 * 3 * 5


def test_redirected_is_the_clipped_sum(tiny_config):
    model = Networks(tiny_config).redirection.joined
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    made = model(inputs())
    np.testing.assert_allclose(
        made["redirected"], np.clip(made["coarse"] + made["residual"], -1, 1), atol=1e-6
    )
    assert np.abs(made["redirected"]).max() == 1


def test_weights_survive_their_file(tiny_config, tmp_path):
    one, other = (Networks(tiny_config).estimator for _ in range(2))
    save_weights(one, tmp_path / "w.npz")
    load_weights(other, tmp_path / "w.npz")
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_another_model_or_damaged_ones_are_refused(tiny_config, tmp_path):
    networks = Networks(tiny_config)
    save_weights(networks.judge, tmp_path / "judge.npz")
    with pytest.raises(RunError, match="another size"):
        load_weights(networks.estimator, tmp_path / "judge.npz")
    whole = (tmp_path / "judge.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.npz", "gone.npz"):
        with pytest.raises(RunError, match="cannot be read"):
            load_weights(networks.judge, tmp_path / name)

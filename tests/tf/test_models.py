"""The networks: budgets, beginnings and shapes."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError, RunError
from mggr_tf.config.files import load_config
from mggr_tf.evaluation.metrics import multiply_accumulates
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.models.warp import BackwardWarp, dense_image_warp, dense_warp
from refusals import refusal

rng = np.random.default_rng(0)
STACK = [f"stack{level}" for level in range(4)]


def inputs(batch=2, size=64):
    return {
        "eye": tf.constant(rng.uniform(-1, 1, (batch, size, size, 3)), tf.float32),
        "gazemap": tf.constant(rng.uniform(0, 1, (batch, size, size, 2)), tf.float32),
        "delta": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
        "head_pose": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
    }


@pytest.mark.extended
def test_an_untrained_redirector_is_the_identity(tiny_config):
    made = Networks(tiny_config).redirection.joined(given := inputs())
    np.testing.assert_allclose(made["flow"], 0, atol=2e-3)
    np.testing.assert_array_equal(made["residual"], np.zeros((2, 64, 64, 3)))
    # The opacity is 0.018 at the start.
    np.testing.assert_allclose(made["redirected"], given["eye"], atol=0.022)


@pytest.mark.extended
def test_the_first_step_already_moves_the_flow(tiny_config):
    """At exactly zero flow the warp would pass no gradient at all."""
    model = Networks(tiny_config).redirection.coarse
    given = inputs()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(BackwardWarp()([given["eye"], model(given)])))
    assert np.abs(tape.gradient(loss, model.get_layer("flow_head").kernel)).max() > 1e-6


@pytest.mark.extended
def test_the_edge_size_keeps_its_budget():
    redirector = Networks(load_config("mggr-edge")).redirection.joined
    assert redirector.count_params() <= 400_000
    assert multiply_accumulates(redirector) <= 60e6


@pytest.mark.extended
@pytest.mark.parametrize("name", ["deepwarp-edge", "prgan-edge"])
def test_rivals_keep_the_same_budget(name):
    redirector = Networks(load_config(name)).redirection.joined
    assert redirector.count_params() <= 400_000
    assert multiply_accumulates(redirector) <= 60e6


@pytest.mark.extended
def test_prgan_has_its_published_size():
    """8.42 M parameters and 2.45 GMAC; the count here includes what is no convolution."""
    redirector = Networks(load_config("prgan-paper")).redirection.joined
    assert redirector.count_params() == pytest.approx(8.42e6, rel=0.002)
    assert multiply_accumulates(redirector) == pytest.approx(2.45e9, rel=0.02)


@pytest.mark.extended
def test_a_published_deepwarp_is_convolutions_at_one_resolution_each_told_the_numbers():
    config = load_config("deepwarp-paper")
    redirection = Networks(config).redirection
    for part, size_px in ((redirection.coarse, 32), (redirection.fine, 64)):
        layers = [layer for layer in part.layers if layer.name in STACK]
        assert [layer.kernel_size[0] for layer in layers] == [5, 3, 3, 1]
        assert [layer.output.shape[1:] for layer in layers] == [
            (size_px, size_px, width) for width in (32, 96, 128, 128)
        ]
        before = [part.get_layer(f"{name}_told").input[0].shape[-1] for name in STACK]
        assert [layer.kernel.shape[2] - c for layer, c in zip(layers, before, strict=True)] == [
            16
        ] * 4


def test_a_stack_belongs_to_deepwarp():
    stack = "{widths: [8], kernels: [3]}"
    with refusal(ConfigError, "invalid-value", at="top level") as caught:
        load_config("mggr-edge", changes=[f"models.coarse={stack}"])
    assert "accepted for method deepwarp" in caught.value.fields["reason"]
    with refusal(ConfigError, "invalid-value", at="models.coarse") as caught:
        load_config("deepwarp-edge", changes=["models.coarse={widths: [8, 8], kernels: [3]}"])
    assert "widths and kernels" in caught.value.fields["reason"]


@pytest.mark.parametrize(
    ("name", "branch", "change"),
    [
        ("mggr-edge", "models.coarse", "paint=true"),
        ("deepwarp-edge", "models.fine", "detail=8"),
    ],
)
def test_what_only_a_fine_branch_knows_is_refused_elsewhere(name, branch, change):
    with refusal(ConfigError, "invalid-value", at="top level") as caught:
        load_config(name, changes=[f"{branch}.{change}"])
    assert f"{branch}: detail, paint and alpha" in caught.value.fields["reason"]


@pytest.mark.extended
@pytest.mark.parametrize("name", ["deepwarp-edge", "deepwarp-paper"])
def test_untrained_deepwarp_nearly_copies(name):
    made = Networks(load_config(name)).redirection.joined(given := inputs())
    # It blends 2 % towards white, by its first bias.
    blended = given["eye"] + 0.018 * (1 - given["eye"])
    np.testing.assert_allclose(made["redirected"], blended, atol=1e-2)
    np.testing.assert_allclose(made["flow"], 0, atol=3e-3)


@pytest.mark.extended
def test_prgan_paints_without_a_flow():
    made = Networks(load_config("prgan-edge")).redirection.joined(given := inputs())
    np.testing.assert_array_equal(made["flow"], np.zeros((2, 64, 64, 2)))
    np.testing.assert_array_equal(made["coarse"], given["eye"])
    np.testing.assert_allclose(made["redirected"], made["coarse"] + made["residual"], atol=1e-6)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("guidance", "ignored"),
    [("[delta]", ("gazemap", "head_pose")), ("[gazemap, head_pose]", ("delta",))],
)
def test_guidance_that_is_taken_away_has_no_influence(guidance, ignored, tiny_changes):
    changes = [*tiny_changes, f"models.guidance={guidance}", "models.fine.detail=2"]
    model = Networks(load_config("mggr-edge", changes=changes)).redirection.joined
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    given = inputs()
    made = model(given)["redirected"]
    for name in ("gazemap", "delta", "head_pose"):
        other = model({**given, name: given[name] + 0.5})["redirected"]
        changed = float(np.abs(other - made).max())
        assert (changed == 0) == (name in ignored), name


@pytest.mark.extended
def test_without_a_branch_its_output_is_zero(tiny_changes):
    def built(*changes):
        model = Networks(
            load_config("mggr-edge", changes=[*tiny_changes, *changes])
        ).redirection.joined
        model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
        return model(given)

    given = inputs()
    no_flow = built("models.coarse=null", "recipe=[estimator, joint]")
    np.testing.assert_array_equal(no_flow["coarse"], given["eye"])
    assert np.abs(no_flow["residual"]).max() > 0
    no_residual = built("models.fine=null", "recipe=[estimator, coarse]")
    np.testing.assert_array_equal(no_residual["residual"], np.zeros((2, 64, 64, 3)))
    assert np.abs(no_residual["flow"]).max() > 0


@pytest.mark.extended
def test_detail_sees_single_pixels(tiny_changes):
    """One pixel of the eye changes the residual around it at full resolution."""
    config = load_config("mggr-edge", changes=[*tiny_changes, "models.fine.detail=3"])
    fine = Networks(config).redirection.fine
    fine.set_weights([rng.normal(0, 0.3, w.shape) for w in fine.get_weights()])
    given = {**inputs(1), "coarse": inputs(1)["eye"]}
    dotted = given["coarse"].numpy()
    dotted[0, 31, 31] += 1.0
    made = [fine({**given, "coarse": one})["residual"] for one in (given["coarse"], dotted)]
    change = np.abs(made[1] - made[0])[0].max(-1)
    assert change[31, 31] > 0
    assert change.argmax() in [64 * y + x for y in range(29, 34) for x in range(29, 34)]


@pytest.mark.extended
def test_the_paper_size_is_about_prgans():
    redirector = Networks(load_config("mggr-paper")).redirection.joined
    assert redirector.count_params() == pytest.approx(8.42e6, rel=0.1)
    assert multiply_accumulates(redirector) == pytest.approx(2.45e9, rel=0.1)


def test_macs_of_one_convolution_are_counted_by_the_formula():
    eye = tf.keras.Input((64, 64, 3))
    model = tf.keras.Model(eye, tf.keras.layers.Conv2D(5, 3, 2, "same", use_bias=False)(eye))
    assert multiply_accumulates(model) == 32 * 32 * 9 * 3 * 5


def test_redirected_is_the_clipped_blend(tiny_config):
    model = Networks(tiny_config).redirection.joined
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    made = model(inputs())
    np.testing.assert_allclose(
        made["redirected"],
        np.clip((1 - made["alpha"]) * made["coarse"] + made["residual"], -1, 1),
        atol=1e-6,
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
    with refusal(RunError, "weights-of-other-size", path=tmp_path / "judge.npz"):
        load_weights(networks.estimator, tmp_path / "judge.npz")
    whole = (tmp_path / "judge.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.npz", "gone.npz"):
        with refusal(RunError, "weights-unreadable", path=tmp_path / name):
            load_weights(networks.judge, tmp_path / name)


@pytest.mark.skipif(dense_image_warp is None, reason="TensorFlow Addons is not installed")
def test_our_bilinear_warp_equals_that_of_tensorflow_addons():
    rng = np.random.default_rng(8)
    image = tf.constant(rng.uniform(-1, 1, (3, 12, 17, 2)).astype(np.float32))
    # The flow reaches far beyond the border. The second flow consists of whole pixels.
    flow = rng.normal(0, 6, (3, 12, 17, 2)).astype(np.float32)
    flow[1] = np.rint(flow[1])
    results = []
    for warp in (dense_warp, lambda image, flow: dense_image_warp(image, -flow[..., ::-1])):
        moved = tf.constant(flow)
        with tf.GradientTape() as tape:
            tape.watch([image, moved])
            warped = warp(image, moved)
            loss = tf.reduce_sum(warped**2)
        results.append((warped, *tape.gradient(loss, [image, moved])))
    (ours, our_image, our_flow), (theirs, their_image, their_flow) = results
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(our_image, their_image, atol=1e-4)
    # At whole pixels, the derivative of bilinear interpolation is not unique.
    np.testing.assert_allclose(our_flow[::2], their_flow[::2], atol=1e-4)


def test_our_bilinear_warp_reads_the_place_of_the_flow():
    image = tf.reshape(tf.range(12.0), [1, 3, 4, 1])
    flow = tf.broadcast_to([0.5, 1.0], [1, 3, 4, 2])
    warped = dense_warp(image, flow)[0, ..., 0].numpy()
    assert warped.tolist() == [[4.5, 5.5, 6.5, 7.0], [8.5, 9.5, 10.5, 11.0], [8.5, 9.5, 10.5, 11.0]]

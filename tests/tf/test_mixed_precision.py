"""Training in 16 bits: what stays float32, what a scaled loss keeps, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError
from mggr_tf.config.files import load_config
from mggr_tf.models import precision as precisions
from mggr_tf.models.networks import Networks
from mggr_tf.training.stage_parts import (
    check_devices,
    compiled,
    stage_dataset,
    stage_shares,
    stage_step,
)
from refusals import refusal

pytestmark = pytest.mark.extended

STEPS = 3
HALVES = ("bfloat16", "float16")
ROUNDED = {"bfloat16": 2**-8, "float16": 2**-11}
"""Half the distance of a precision's neighbouring numbers, relative to them."""


@pytest.fixture(scope="module")
def slim_config(tiny_changes):
    """A joint stage of both branches and the discriminator, and nothing else to trace."""
    l1 = "{name: l1, weight: 1.0}"
    return load_config(
        "mggr-edge",
        changes=[
            *tiny_changes,
            "models.interpolation=bilinear",
            "stages.coarse.losses=[{name: l1, weight: 1.0, picture: coarse}]",
            f"stages.joint.losses=[{l1}, {{name: adversarial, weight: 0.05}}]",
        ],
    )


@pytest.fixture(scope="module")
def grey_samples(samples):
    """The discs, nowhere black: at the end of the range rounding decides what a clip lets pass."""
    noise = np.random.default_rng(5).normal(0, 6, samples.images.shape)
    images = np.clip(40 + 0.6 * samples.images + noise, 20, 235).astype(np.uint8)
    return dataclasses.replace(samples, images=images)


def stage_of(networks, stage):
    total = tf.Variable(100, dtype=tf.int64)
    return stage_step(networks.config, stage, networks, total=total, replicas=1)


def batches(config, stage, samples, *, steps=(0, STEPS)):
    shares = stage_shares(config, stage)
    return stage_dataset(config, stage, samples, shares=shares, steps=steps)


def trained(config, stage, samples, precision):
    """A stage's step after some steps, and their metrics."""
    networks = Networks(config, precision=precision)
    step = stage_of(networks, stage)
    seen = [{k: float(v) for k, v in step(b).items()} for b in batches(config, stage, samples)]
    return networks, step, seen


@pytest.fixture(scope="module")
def joint_runs(slim_config, grey_samples):
    """Some joint steps in every precision."""
    return {p: trained(slim_config, "joint", grey_samples, p) for p in ("float32", *HALVES)}


@pytest.mark.parametrize("precision", HALVES)
def test_a_joint_stage_in_16_bits_stays_close_to_one_in_32(joint_runs, precision):
    _, _, exact = joint_runs["float32"]
    _, _, seen = joint_runs[precision]
    assert np.isfinite([list(metrics.values()) for metrics in seen]).all()
    # A loss is a mean of many values: it moves by less than one of them is rounded.
    assert seen[0]["loss"] == pytest.approx(exact[0]["loss"], rel=ROUNDED[precision])
    # Adam's first updates go by a gradient's sign, of whatever size: roundings near zero count.
    assert seen[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.03)


@pytest.mark.parametrize("precision", HALVES)
def test_only_what_lies_before_the_heads_computes_in_16_bits(joint_runs, precision):
    networks, step, _ = joint_runs[precision]
    redirection = networks.redirection
    assert redirection.coarse.get_layer("encode0").compute_dtype == precision
    assert redirection.fine.get_layer("encode0_condition")._scale.compute_dtype == precision
    assert networks.discriminator.get_layer("level0").compute_dtype == precision
    outputs = [*redirection.joined.outputs, *networks.discriminator.outputs]
    assert {o.dtype.name for o in outputs} == {"float32"}
    for exact in ("flow_head", "flow_px"):
        assert redirection.coarse.get_layer(exact).compute_dtype == "float32"
    for exact in ("warp", "redirected"):
        assert redirection.joined.get_layer(exact).compute_dtype == "float32"
    for exact in (networks.averaged.joined, networks.estimator):
        assert computed_in(exact) == {"float32"}
    kept = [v for thing in step.state().values() for v in thing.variables]
    assert {v.dtype.name for v in kept} == {"float32", "int64"}


def computed_in(model):
    inner = [layer for layer in model.layers if isinstance(layer, tf.keras.Model)]
    own = {layer.compute_dtype for layer in model.layers if layer not in inner}
    return own.union(*map(computed_in, inner))


@pytest.mark.parametrize("precision", HALVES)
def test_the_same_weights_make_nearly_the_same_picture(
    joint_runs, slim_config, grey_samples, precision
):
    _, step, _ = joint_runs["float32"]
    networks = Networks(slim_config, precision=precision)
    for name in slim_config.models.parts:
        networks.redirection.part(name).set_weights(step.state()[name].get_weights())
        networks.averaged.part(name).set_weights(step.state()[name].get_weights())
    batch = next(iter(batches(slim_config, "joint", grey_samples)))
    given = {name: batch[name] for name in ("eye", "gazemap", "delta", "head_pose")}
    rough, exact = (r.joined(given) for r in (networks.redirection, networks.averaged))
    # Flows and residuals are small: a picture of [-1, 1] hardly hears of their rounding.
    np.testing.assert_allclose(rough["redirected"], exact["redirected"], atol=ROUNDED[precision])
    assert np.abs(rough["redirected"] - exact["redirected"]).max() > 0


@pytest.mark.parametrize("stage", ["estimator", "judge"])
def test_an_estimator_follows_its_twin(slim_config, samples, stage):
    networks, step, seen = trained(slim_config, stage, samples, "bfloat16")
    assert np.isfinite([m["loss"] for m in seen]).all()
    asked, twin = getattr(networks, stage), step.state()["model"]
    assert asked is step.state()["asked"]
    assert twin.get_layer("hidden").compute_dtype == "bfloat16"
    assert computed_in(asked) == {"float32"}
    for ours, theirs in zip(asked.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    before = getattr(Networks(slim_config), stage).get_weights()
    assert any((a != b).any() for a, b in zip(before, asked.get_weights(), strict=True))


@pytest.mark.slow
def test_a_scaled_loss_comes_back_from_a_checkpoint(slim_config, samples, tmp_path):
    """Weights, both optimizers and both scales: what goes on is what was never interrupted."""
    step = stage_of(Networks(slim_config, precision="float16"), "joint")
    run, checkpoint = tf.function(step), tf.train.Checkpoint(**step.state())
    scale_of(step, "discriminator_optimizer").assign(2.0**7)
    for batch in batches(slim_config, "joint", samples, steps=(0, 1)):
        run(batch)
    path = checkpoint.save(tmp_path / "one")
    for batch in batches(slim_config, "joint", samples, steps=(1, 3)):
        run(batch)
    unbroken = values_of(step)
    other = stage_of(Networks(slim_config, precision="float16"), "joint")
    fresh = tf.train.Checkpoint(**other.state()).restore(path)
    fresh.assert_existing_objects_matched()
    assert float(scale_of(other, "discriminator_optimizer")) == 2.0**7
    checkpoint.restore(path)
    for ours, theirs in zip(values_of(step), values_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for batch in batches(slim_config, "joint", samples, steps=(1, 3)):
        run(batch)
    for ours, theirs in zip(values_of(step), unbroken, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def scale_of(step, optimizer):
    variables = step.state()[f"{optimizer}_loss_scale"].variables
    return next(v for v in variables if "scale" in v.name)


def values_of(step):
    """Everything that a checkpoint holds, and that is put back after steps were timed."""
    return [v.numpy() for thing in step.state().values() for v in thing.variables]


def test_an_infinite_gradient_leaves_out_the_update_and_counts(slim_config, samples):
    networks = Networks(slim_config, precision="float16")
    step = stage_of(networks, "coarse")
    optimizer, scale = step.state()["optimizer"], scale_of(step, "optimizer")
    scale.assign(2.0**100)
    head = networks.redirection.coarse.get_layer("flow_head").kernel  # at 0 nothing passes it
    head.assign(tf.fill(head.shape, 0.1))
    before = networks.redirection.joined.get_weights()
    metrics = step(next(iter(batches(slim_config, "coarse", samples))))
    assert np.isfinite([float(value) for value in metrics.values()]).all()
    for ours, first in zip(networks.redirection.joined.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, first)
    assert float(metrics["loss_scale"]) == float(scale) == 2.0**99
    assert int(optimizer.iterations) == 1, "the next step draws another view"


def test_gradients_are_clipped_at_their_own_size(slim_config, samples):
    """Scaled ones are 32768 times as long: clipped before they are put right, nothing were left."""
    moments = {}
    for precision in ("float32", "float16"):
        step = stage_of(Networks(slim_config, precision=precision), "coarse")
        step(next(iter(batches(slim_config, "coarse", samples))))
        first = [v for v in step.state()["optimizer"].variables if v.name.startswith("m/")]
        assert first
        moments[precision] = np.sqrt(sum(float(tf.reduce_sum(v**2)) for v in first))
    assert moments["float16"] == pytest.approx(moments["float32"], rel=0.01)


def no_gpu(monkeypatch, folder, flags):
    file = folder / "cpuinfo"
    file.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(precisions, "_CPUINFO", file)
    monkeypatch.setattr(precisions.tf.config, "list_physical_devices", lambda kind: [])


def gpus(monkeypatch, *capabilities):
    monkeypatch.setattr(precisions.tf.config, "list_physical_devices", lambda kind: capabilities)
    details = lambda gpu: {} if gpu is None else {"compute_capability": gpu}  # noqa: E731
    monkeypatch.setattr(precisions.tf.config.experimental, "get_device_details", details)


def looked_at(*changes, replicas=1):
    """What is warned of."""
    warned: list[str] = []
    config = load_config("mggr-edge", changes=changes)
    check_devices(config, ("coarse", "joint"), replicas=replicas, warn=warned.append)
    return warned


@pytest.mark.parametrize(("flags", "instead"), [("avx512_bf16", "bfloat16"), ("avx2", "float32")])
def test_a_processor_is_no_place_for_float16(monkeypatch, tmp_path, flags, instead):
    no_gpu(monkeypatch, tmp_path, flags)
    fields = {"stages": "coarse, joint", "instead": instead}
    with refusal(ConfigError, "float16-not-supported", **fields) as refused:
        looked_at("compute.precision=float16")
    assert "7.0 or more (here: none)" in refused.value.fields["needed"]


def test_emulated_bfloat16_is_warned_of(monkeypatch, tmp_path):
    no_gpu(monkeypatch, tmp_path, "avx2")
    (warned,) = looked_at("compute.precision=bfloat16")
    assert "compute.precision: bfloat16" in warned
    assert "AVX512-BF16 or AMX-BF16" in warned
    assert "slower than float32" in warned
    no_gpu(monkeypatch, tmp_path, "avx2 avx512_bf16")
    assert not looked_at("compute.precision=bfloat16")
    assert not looked_at("compute.precision=float32")


def test_the_weakest_gpu_decides(monkeypatch):
    gpus(monkeypatch, (8, 6), (7, 0))
    assert not looked_at("compute.precision=float16")
    assert "(here: 7.0)" in looked_at("compute.precision=bfloat16")[0]
    gpus(monkeypatch, (8, 6), (6, 1))
    with refusal(ConfigError, "float16-not-supported", instead="float32") as refused:
        looked_at("compute.precision=float16")
    assert "7.0 or more (here: 6.1)" in refused.value.fields["needed"]
    gpus(monkeypatch, None)
    with refusal(ConfigError, "float16-not-supported") as refused:
        looked_at("compute.precision=float16")
    assert "here: 0.0" in refused.value.fields["needed"]


def test_xla_is_for_one_device_and_warned_of_without_a_gpu(monkeypatch, tmp_path):
    no_gpu(monkeypatch, tmp_path, "")
    assert "times as long" in looked_at("compute.xla=true")[0]
    with refusal(ConfigError, "xla-on-several-devices", stages="coarse, joint", devices=2):
        looked_at("compute.xla=true", replicas=2)
    assert not looked_at(replicas=2)
    gpus(monkeypatch, (8, 6))
    assert not looked_at("compute.xla=true")


def test_a_config_knows_three_precisions():
    with refusal(ConfigError, "value-not-allowed", at="compute.precision", found="'float8'"):
        load_config("mggr-edge", changes=["compute.precision=float8"])


@pytest.mark.slow
def test_a_compiled_step_computes_what_a_plain_one_does(slim_config, grey_samples):
    """A coarse stage: nothing in it is drawn at random."""
    losses = {}
    for xla in (False, True):
        step = stage_of(Networks(slim_config), "coarse")
        run = tf.function(compiled(step, xla=xla))
        losses[xla] = [float(run(b)["loss"]) for b in batches(slim_config, "coarse", grey_samples)]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["estimator", "judge", "fine", "joint"])
def test_every_stage_compiles(tiny_config, grey_samples, stage):
    run = compiled(stage_of(Networks(tiny_config), stage), xla=True)
    for batch in batches(tiny_config, stage, grey_samples):
        assert all(np.isfinite(float(value)) for value in run(batch).values())


def test_weights_files_do_not_know_what_they_were_trained_in(tiny_config, tmp_path: Path):
    plain, half = (Networks(tiny_config, precision=p).redirection for p in ("float32", "float16"))
    names = [[w.name for w in one.joined.weights] for one in (plain, half)]
    assert names[0] == names[1]
    assert {w.dtype.name for w in half.joined.weights} == {"float32"}

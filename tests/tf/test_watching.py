"""What a training leaves to be looked at, and when it is stopped because it went wrong."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.config.files import load_config
from mggr_tf.data.pairs import all_pairs
from mggr_tf.models.networks import Networks
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.optimizer import WarmUpCosine
from mggr_tf.training.stage_parts import (
    learning_rates,
    stage_dataset,
    stage_shares,
    stage_step,
    trained_networks,
)
from mggr_tf.training.stage_watch import MetricsWriter, SampleSheet
from mggr_tf.training.stopping import Divergence
from mggr_tf.training.validation import stage_validation

pytestmark = pytest.mark.extended

DATA = DataRecord("discs", ("0000",), ("0001",), 12, "Apache-2.0")
STEPS = 3


def events(folder):
    """Plugin -> tag -> step -> tensor, of every event file in a folder."""
    found = defaultdict(lambda: defaultdict(dict))
    files = sorted(str(file) for file in folder.glob("events.*"))
    assert files
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            found[plugin][value.tag][event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory, tiny_changes, samples):
    """Three steps of a joint stage, watched as training watches it."""
    losses = "stages.joint.losses=[{name: l1, weight: 1}, {name: adversarial, weight: 0.1}]"
    without = [change for change in tiny_changes if not change.startswith("stages.joint.losses")]
    config = load_config("mggr-edge", changes=[*without, losses])
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", config, DATA)
    networks = Networks(config)
    total = tf.Variable(STEPS, dtype=tf.int64)
    step = stage_step(config, "joint", networks, total=total, replicas=1)
    validation = stage_validation(networks, "joint", samples=samples, pairs=6)
    drawn = SampleSheet(networks, samples)
    batches = stage_dataset(
        config, "joint", samples, shares=stage_shares(config, "joint"), steps=(0, STEPS)
    )
    run_step = tf.function(lambda batch: step(batch))
    with MetricsWriter(run, "joint") as writer:
        for number, batch in enumerate(batches, start=1):
            values = {name: float(value) for name, value in run_step(batch).items()}
            writer.log(number, values, learning_rates=learning_rates(step))
        found, sheet = validation(), drawn()
        writer.validated(STEPS, found, networks=trained_networks(networks, "joint"))
        writer.sheet(STEPS, sheet)
    return run, found, sheet, networks, events(run.log_folder("joint"))


def test_scalars_are_those_of_the_csv(watched):
    run, *_, seen = watched
    scalars = seen["scalars"]
    for metric in ("loss", "l1", "adversarial", "discriminator"):
        logged = run.logged("joint", metric)
        assert list(scalars[metric]) == list(logged) == [1, 2, 3]
        for step, value in logged.items():
            assert scalars[metric][step] == pytest.approx(value, rel=1e-4)


def test_learning_rates_are_those_of_the_schedule(watched):
    run, *_, seen = watched
    settings = run.config.stage("joint")
    for name in ("learning_rate", "discriminator_learning_rate"):
        schedule = WarmUpCosine(getattr(settings, name), tf.constant(STEPS, tf.int64))
        # The rate of a step's own update, and updates count from 0.
        expected = {step: float(schedule(tf.constant(step - 1))) for step in (1, 2, 3)}
        assert seen["scalars"][name] == pytest.approx(expected)
        assert expected[3] < expected[1]
    assert "learning_rate" not in run.log_file("joint").read_text()


def test_validation_is_in_a_csv_and_in_tensorboard(watched):
    run, found, *_, seen = watched
    assert run.validated("joint", "l1") == {STEPS: pytest.approx(found.value, rel=1e-5)}
    assert seen["scalars"]["validation/l1"][STEPS] == pytest.approx(found.value, rel=1e-5)


def test_the_sheet_is_a_picture_that_decodes(watched):
    run, _, sheet, _, seen = watched
    width, height, png = seen["images"]["sheet"][STEPS]
    assert (int(height), int(width)) == sheet.shape[:2]
    np.testing.assert_array_equal(tf.io.decode_png(png), sheet)
    written = tf.io.decode_png(run.sheet_file("joint", STEPS).read_bytes())
    np.testing.assert_array_equal(written, sheet)


def test_histograms_count_every_weight_of_what_is_trained(watched):
    _, found, _, networks, seen = watched
    histograms = seen["histograms"]
    counted = {tag: values[STEPS][:, 2].sum() for tag, values in histograms.items()}
    parts = {
        "coarse": networks.redirection.coarse,
        "fine": networks.redirection.fine,
        "discriminator": networks.discriminator,
    }
    for name, network in parts.items():
        inside = [n for tag, n in counted.items() if tag.startswith(f"weights/{name}/")]
        assert len(inside) == len(network.trainable_variables)
        assert sum(inside) == sum(v.shape.num_elements() for v in network.trainable_variables)
    assert "weights/coarse/encode0_condition/scale/kernel" in counted
    for name in ("flow", "residual"):
        buckets = histograms[f"validation/{name}"][STEPS]
        assert counted[f"validation/{name}"] == found.outputs[name].size
        assert buckets[0, 0] == pytest.approx(found.outputs[name].min(), abs=1e-6)
    assert len(counted) == 2 + sum(len(part.trainable_variables) for part in parts.values())


def test_a_writer_closes_when_training_breaks_off(tmp_path, tiny_config):
    run = RunFolder.create(tmp_path / "run", tiny_config, DATA)

    def broken():
        with MetricsWriter(run, "judge") as writer:
            writer.log(1, {"loss": 2.0}, learning_rates={})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert events(run.log_folder("judge"))["scalars"]["loss"][1] == 2.0


def test_a_sheet_shows_the_source_first_and_the_real_target_last(tiny_config, samples):
    networks = Networks(tiny_config)
    picture = SampleSheet(networks, samples)()
    pairs = all_pairs(samples, limit=8, seed=tiny_config.seed)
    assert picture.shape == (8 * 128, 5 * 128, 3)
    for column, patches in ((0, pairs[:, 0]), (4, pairs[:, 1])):
        shown = picture[::2, 128 * column : 128 * (column + 1) : 2]
        np.testing.assert_array_equal(shown, np.concatenate(list(samples.images[patches])))
    moved = networks.averaged.joined.get_weights()
    networks.averaged.joined.set_weights([w + 0.1 for w in moved])
    assert (SampleSheet(networks, samples)() != picture).any()


def test_what_each_stage_trains(tiny_config):
    networks = Networks(tiny_config)
    names = {stage: list(trained_networks(networks, stage)) for stage in tiny_config.stages}
    assert names == {
        "estimator": ["estimator"],
        "judge": ["judge"],
        "coarse": ["coarse"],
        "fine": ["fine", "discriminator"],
        "joint": ["coarse", "fine", "discriminator"],
    }
    l1 = tuple(loss for loss in tiny_config.stage("joint").losses if loss.name == "l1")
    stages = {**tiny_config.stages, "joint": replace(tiny_config.stage("joint"), losses=l1)}
    alone = Networks(replace(tiny_config, stages=stages))
    assert list(trained_networks(alone, "joint")) == ["coarse", "fine"]


def reported(divergence, losses):
    """What was said, and after how many steps."""
    for number, loss in enumerate(losses, start=1):
        if reason := divergence.tell({"l1": 0.1, "loss": float(loss)}):
            return number, reason
    return None


@pytest.fixture
def noise():
    return np.random.default_rng(3).normal(0, 1, 2000)


def test_no_number_stops_at_once_and_is_named():
    divergence = Divergence()
    assert divergence.tell({"loss": 1.0, "l1": 1.0}) is None
    assert divergence.tell({"loss": 1.0, "l1": float("nan"), "gaze": float("inf")}) == (
        "l1, gaze is not a finite number"
    )


def test_a_loss_far_above_its_past_stops(noise):
    fine = 0.5 + 0.1 * noise[:300]
    number, reason = reported(Divergence(), [*fine, *np.geomspace(0.5, 1000, 400)])
    assert 550 < number <= 600
    assert "increased from 0.4" in reason


def test_the_first_steps_are_judged_by_the_very_first():
    """As the coarse stage's are with a learning rate of 1: nothing after them is of their size."""
    number, reason = reported(Divergence(), [0.15, 3.38e12, 2.75e14, 1.53e17])
    assert number == 2
    assert reason.endswith("increased from 0.15 to 3.38e+12")


def test_the_step_that_did_it_is_the_last_one(noise):
    losses = 0.5 + 0.1 * noise[:200]
    losses[130] = 1e4
    assert reported(Divergence(), losses)[0] == 131


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param(lambda noise: np.exp(-np.arange(2000) / 200) + 0.01 * noise, id="to zero"),
        pytest.param(lambda noise: 0.3 * noise, id="around zero, as an adversary's"),
        pytest.param(
            lambda noise: 1e-3 * noise * np.arange(2000) ** 1.3,
            id="from zero, ever more to and fro",
        ),
        pytest.param(
            lambda noise: noise - 500 * np.sin(np.arange(2000) * np.pi / 2000) ** 2,
            id="far down and up again",
        ),
        pytest.param(
            lambda noise: 300 * np.sin(np.arange(2000) / 100) + 20 * noise, id="to and fro"
        ),
        pytest.param(lambda noise: 0.5 + 0.1 * noise + 100 * (noise > 1.5), id="bad batches"),
        pytest.param(lambda noise: np.where(np.arange(2000) < 500, 0.2, 2.0), id="ten times worse"),
    ],
)
def test_what_is_rough_but_sound_goes_on(losses, noise):
    assert reported(Divergence(), losses(noise)) is None


def test_a_checkpoint_holds_what_the_loss_had_come_down_to(tmp_path, noise):
    before = Divergence()
    assert reported(before, 0.5 + 0.1 * noise[:100]) is None
    path = tf.train.Checkpoint(**before.state()).save(str(tmp_path / "c"))
    exploded = [100.0] * 50
    assert reported(Divergence(), exploded) is None  # it knows of nothing better
    resumed = Divergence()
    tf.train.Checkpoint(**resumed.state()).restore(path).assert_existing_objects_matched()
    assert reported(resumed, exploded)[0] == 26

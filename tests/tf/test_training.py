"""Training: it learns, it resumes, it leaves whole things behind."""

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import RunError
from mggr_tf.config.files import load_config
from mggr_tf.evaluation.protocol import pair_inputs
from mggr_tf.evaluation.trained import load_redirector
from mggr_tf.models.classifiers import VGG16_FEATURES
from mggr_tf.models.networks import Networks
from mggr_tf.runs.adoption import adopt
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import free_name, newest_run
from mggr_tf.runs.record import DataRecord
from mggr_tf.training.distribution import Preempted, open_distribution
from mggr_tf.training.loop import Loop
from mggr_tf.training.stage_watch import StageWatch
from mggr_tf.training.stages import StageTrainer, stages_to_train, train_stages
from mggr_tf.training.stopping import Budget
from refusals import refusal

pytestmark = pytest.mark.extended

DATA = DataRecord("discs", ("0000", "0001"), (), 24, "Apache-2.0")


def train(path, config, samples, *, stage="joint", steps=3, said=None):
    new = not (path / "run.json").exists()
    run = RunFolder.create(path, config, DATA) if new else RunFolder.open(path)
    train_stages(
        run,
        stage,
        samples=samples,
        held_out=None,
        budget=Budget(steps=steps),
        stream=None,
        notify=(said if said is not None else []).append,
    )
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_config, samples):
    said = []
    run = train(tmp_path_factory.mktemp("runs") / "run", tiny_config, samples, said=said)
    return run, said


def test_a_stage_trains_what_it_lacks_in_the_papers_order_and_says_so(trained):
    run, said = trained
    assert "estimator, coarse" in said[0]
    assert [line.split(":")[0] for line in said[1:]] == ["estimator", "coarse", "joint"]
    assert all(run.is_complete(stage) for stage in ("estimator", "coarse", "joint"))
    assert stages_to_train(run, "joint") == ()
    assert stages_to_train(run, "fine") == ("fine",)


def test_a_run_holds_what_it_should(trained):
    run, _ = trained
    record = json.loads((run.path / "run.json").read_text())
    assert record["stages"]["joint"] == {
        "steps": 3,
        "done": 3,
        "complete": True,
        "minutes": None,
        "seconds": record["stages"]["joint"]["seconds"],
    }
    assert record["versions"]["tensorflow"] == tf.__version__
    assert record["seed"] == run.config.seed
    assert RunFolder.open(run.path).config == run.config
    header, *lines = (run.path / "logs" / "joint.csv").read_text().splitlines()
    assert {"step", "loss", "l1", "adversarial", "discriminator"} <= set(header.split(","))
    # So short a training logs every step.
    column = header.split(",").index("l1")
    logged = {int(line.split(",")[0]): float(line.split(",")[column]) for line in lines}
    assert list(logged) == [1, 2, 3]
    assert run.logged("joint", "l1") == logged
    assert run.logged("joint", "absent") == {}
    assert run.logged("fine", "l1") == {}
    assert list((run.path / "logs" / "joint").glob("events.*"))
    assert (run.path / "sheets" / "joint-000003.png").is_file()
    assert not list(run.path.rglob("*.partial-*"))


def test_every_trained_branch_moved(trained, tiny_config):
    run, _ = trained
    networks = load_redirector(run)
    heads = [
        networks.averaged.coarse.get_layer("flow_head"),
        networks.averaged.fine.get_layer("picture_head"),
    ]
    for head in heads:  # they start at zero
        assert np.abs(head.get_weights()[0]).max() > 0


@pytest.mark.slow
def test_a_run_cut_short_goes_on_as_if_nothing_had_happened(
    trained, tmp_path, tiny_config, samples, monkeypatch
):
    whole, _ = trained
    real_train, calls = Loop.train, []

    def run_then_stop(self, total, hooks):
        tell = hooks.tell

        def stop_after_two(*step):
            tell(*step)
            calls.append(step)
            if len(calls) == 2:
                signal.raise_signal(signal.SIGINT)

        real_train(self, total, replace(hooks, tell=stop_after_two))

    for stage in ("estimator", "coarse", "joint"):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Loop, "train", run_then_stop)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "run", tiny_config, samples, stage=stage)
        run = RunFolder.open(tmp_path / "run")
        assert run.record.stages[stage].done == 2
        assert not run.is_complete(stage)
        run = train(tmp_path / "run", tiny_config, samples, stage=stage, steps=99)
        assert run.record.stages[stage].steps == 3  # the first budget holds
    for name in ("estimator", "coarse", "fine"):
        with np.load(run.weights_file(name)) as a, np.load(whole.weights_file(name)) as b:
            for key in a.files:
                np.testing.assert_array_equal(a[key], b[key], err_msg=f"{name} {key}")


@pytest.mark.slow
def test_a_minutes_budget_becomes_recorded_steps(tmp_path, tiny_config, samples, monkeypatch):
    """As many steps as fit, at the pace that was measured: here, one a minute."""
    monkeypatch.setattr(Loop, "seconds_per_step", lambda self, patience_s: 60.0)
    run = RunFolder.create(tmp_path / "run", tiny_config, DATA)
    train_stages(
        run,
        "estimator",
        samples=samples,
        held_out=None,
        budget=Budget(minutes=10.0),
        stream=None,
        notify=lambda text: None,
    )
    record = run.record.stages["estimator"]
    assert record.complete
    assert record.minutes == 10.0
    # 3 % are kept back for sheets and checkpoints.
    assert record.steps == record.done == 9


@pytest.mark.slow
def test_timing_steps_leaves_no_trace(tmp_path, tiny_config, samples):
    run = RunFolder.create(tmp_path / "run", tiny_config, DATA)
    networks = Networks(tiny_config)
    trainer = StageTrainer(
        run,
        "coarse",
        networks,
        distribution=open_distribution(),
        samples=samples,
        notify=lambda text: None,
    )
    before = [w.copy() for w in networks.redirection.coarse.get_weights()]
    assert trainer.loop.seconds_per_step(0.5) > 0
    for one, other in zip(before, networks.redirection.coarse.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    counters = [v for v in trainer.loop._variables if v.dtype == tf.int64]
    assert counters
    assert all(int(v) == 0 for v in counters)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    tmp_path, tiny_changes, samples
):
    config = load_config(
        "mggr-edge",
        changes=[
            *tiny_changes,
            "stages.estimator.learning_rate=1.0e+30",
        ],
    )
    with refusal(RunError, "training-diverged", stage="estimator") as e:
        train(tmp_path / "run", config, samples, stage="estimator", steps=50)
    assert not RunFolder.open(tmp_path / "run").is_complete("estimator")
    (kept,) = (tmp_path / "run" / "logs").glob("estimator-bad-batch-*.npz")
    assert "not a finite number" in e.value.fields["reason"]
    assert e.value.fields["path"] == str(kept)
    assert str(kept) in str(e.value)
    assert "stages.estimator.learning_rate=" in str(e.value)
    with np.load(kept) as batch:
        assert batch["eye"].shape[1:] == (64, 64, 3)
        assert np.isfinite(batch["eye"]).all()


@pytest.mark.slow
def test_a_stage_ends_early_and_keeps_its_best(tmp_path, tiny_config, tiny_changes, samples):
    base = train(tmp_path / "base", tiny_config, samples, stage="estimator")
    changes = ("stages.coarse.learning_rate=1.0e-38", "stages.coarse.validation.every=1")
    config = load_config(
        "mggr-edge",
        changes=[*tiny_changes, *changes, "stages.coarse.validation.patience=2"],
    )
    run = RunFolder.create(tmp_path / "run", config, DATA)
    adopt(run, base, stage="coarse")
    said = []
    train(tmp_path / "run", config, samples, stage="coarse", steps=50, said=said)
    # Nothing is learned at such a rate, so that nothing after the first is better.
    assert said[-1].startswith("coarse: stopped early, before step 50; ")
    assert "step 1," in said[-1]
    assert "no subjects are held out" in said[0]
    assert len(RunFolder.open(tmp_path / "run").logged("coarse", "l1_coarse")) == 3
    assert RunFolder.open(tmp_path / "run").is_complete("coarse")


def test_a_flow_that_is_no_number_ends_in_the_same_line(tmp_path, tiny_config, samples):
    """The warp cannot read where it points, before there is any loss."""
    run = RunFolder.create(tmp_path / "run", tiny_config, DATA)
    networks, here = Networks(tiny_config), open_distribution()
    trainer = StageTrainer(
        run, "coarse", networks, distribution=here, samples=samples, notify=lambda text: None
    )
    head = networks.redirection.coarse.get_layer("flow_head")
    head.bias.assign(np.nan * head.bias)
    watch = StageWatch(run, "coarse", networks, shown=samples, distribution=here, stream=None)
    with refusal(RunError, "flow-invalid", stage="coarse", step=1) as e:
        trainer.train(Budget(steps=3), watch)
    (kept,) = (tmp_path / "run" / "logs").glob("coarse-bad-batch-*.npz")
    assert " is not in [" in e.value.fields["reason"]
    assert e.value.fields["path"] == str(kept)
    assert str(kept) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_validation_that_is_no_number_ends_it_too(tmp_path, tiny_config, samples, monkeypatch):
    monkeypatch.setattr(StageWatch, "_validate", lambda self, step, writer: float("nan"))
    with refusal(RunError, "validation-not-finite", stage="estimator", step=3):
        train(tmp_path / "run", tiny_config, samples, stage="estimator")


def stopped_at(monkeypatch, step, where):
    """A SIGTERM that comes while `where` of a `StageWatch` is at work, after a step."""
    inner = getattr(StageWatch, where)
    monkeypatch.undo()

    def and_a_signal(self, *args):
        if args[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(self, *args)

    monkeypatch.setattr(StageWatch, where, and_a_signal)


@pytest.mark.parametrize("step", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_signal_during_a_validation_keeps_the_best_and_ends(
    tmp_path, tiny_changes, samples, monkeypatch, step
):
    config = load_config(
        "mggr-edge", changes=[*tiny_changes, "stages.estimator.validation.every=2"]
    )
    stopped_at(monkeypatch, step, "_validate")
    with pytest.raises(Preempted):
        train(tmp_path / "run", config, samples, stage="estimator", steps=4)
    run = RunFolder.open(tmp_path / "run")
    assert run.record.stages["estimator"].done == step
    assert not run.is_complete("estimator")
    about = json.loads(
        (run.checkpoint_folder("estimator") / f"step-{step:08d}" / "about.json").read_text()
    )
    assert about["metric"] is not None or step == 4  # the last need not be the best
    monkeypatch.undo()
    assert train(tmp_path / "run", config, samples, stage="estimator").is_complete("estimator")


@pytest.mark.slow
def test_checkpoints_that_are_gone_are_no_fresh_start(tmp_path, tiny_config, samples):
    run = train(tmp_path / "run", tiny_config, samples, stage="estimator")
    run.update_stage("estimator", replace(run.record.stages["estimator"], complete=False))
    folder = run.checkpoint_folder("estimator")
    shutil.rmtree(folder)
    with refusal(RunError, "checkpoints-missing", path=folder, stage="estimator", steps=3):
        train(tmp_path / "run", tiny_config, samples, stage="estimator")


def test_runs_are_found_and_named(trained, tmp_path):
    run, _ = trained
    assert newest_run(run.path.parent).path == run.path
    with refusal(RunError, "no-complete-run", path=tmp_path):
        newest_run(tmp_path)
    (tmp_path / "name").mkdir()
    assert free_name(tmp_path, "name").name == "name-2"


def test_damaged_runs_are_refused(trained, tmp_path):
    with refusal(RunError, "not-a-run", path=tmp_path):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with refusal(RunError, "run-damaged", path=tmp_path):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with refusal(RunError, "run-schema-unknown", path=tmp_path, found=99):
        RunFolder.open(tmp_path)


@pytest.mark.slow
def test_perceptual_loss_on_given_vgg_weights(tmp_path, tiny_changes, samples):
    """Random weights of VGG-16's shape stand in: ImageNet's come by the user's hand."""
    tiny_config = load_config("mggr-edge", changes=[*tiny_changes, "models.features=vgg16"])
    weights = tmp_path / "vgg16.h5"
    tf.keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(weights)
    run = RunFolder.create(tmp_path / "run", tiny_config, DATA, vgg16=weights)
    features = Networks(tiny_config, vgg16=weights).features
    assert set(features.output) == set(VGG16_FEATURES)
    train(tmp_path / "run", tiny_config, samples, steps=2)
    assert RunFolder.open(run.path).is_complete("joint")
    with refusal(RunError, "vgg16-weights-missing", config=tiny_config.name):
        _ = Networks(tiny_config).features
    (tmp_path / "no.h5").write_bytes(b"x")
    with refusal(RunError, "vgg16-weights-invalid", path=tmp_path / "no.h5"):
        _ = Networks(tiny_config, vgg16=tmp_path / "no.h5").features


@pytest.mark.slow
def test_a_small_network_overfits_four_pairs(tmp_path, samples):
    """Four pictures of one eye: what the network is asked for, it must be able to draw."""
    few = samples._take((samples.group == samples.group[0]) & (np.arange(len(samples)) < 6))
    few = few._take(np.arange(len(few)) < 3)
    config = load_config(
        "mggr-edge",
        changes=[
            "models.coarse.widths=[8, 16, 24]",
            "models.coarse.decoder=[16, 16]",
            "stages.coarse.augmentation={brightness: 0, contrast: 0, colour: 0, shift_px: 0}",
            "stages.coarse.losses=[{name: l1, weight: 1.0, picture: coarse}]",
            "stages.coarse.batch=4",
            "stages.estimator.batch=2",
        ],
    )
    run = train(tmp_path / "run", config, few, stage="estimator", steps=2)
    run = train(tmp_path / "run", config, few, stage="coarse", steps=400)
    pairs = np.array([[i, j] for i in range(len(few)) for j in range(len(few)) if i != j])[:4]
    made = load_redirector(run).averaged.joined(pair_inputs(few, pairs, config.conventions))
    real = few.images[pairs[:, 1]] / 127.5 - 1
    copied = np.abs(few.images[pairs[:, 0]] / 127.5 - 1 - real).mean()
    assert np.abs(made["coarse"] - real).mean() < 0.25 * copied

"""Validation: the numbers that evaluation would find, and nothing that changes by looking."""

import weakref

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import DataError
from mggr_tf.data.pairs import all_pairs
from mggr_tf.evaluation.estimator_scores import score_estimator
from mggr_tf.evaluation.metrics import image_metrics
from mggr_tf.evaluation.protocol import redirect_pairs
from mggr_tf.evaluation.trained import redirect_with
from mggr_tf.models.networks import Networks
from mggr_tf.training.stopping import Patience
from mggr_tf.training.validation import stage_validation
from refusals import refusal

PAIRS = 70
"""More than one batch, and a last one of another size."""


@pytest.fixture(scope="module")
def networks(tiny_config):
    """With weights that move and paint: fresh ones do neither."""
    made = Networks(tiny_config)
    rng = np.random.default_rng(1)
    for model in (made.averaged.joined, made.estimator, made.judge):
        model.set_weights([w + rng.normal(0, 0.05, w.shape) for w in model.get_weights()])
    return made


@pytest.fixture
def checked(networks, samples):
    def stage(name, pairs=PAIRS):
        return stage_validation(networks, name, samples=samples, pairs=pairs)()

    return stage


@pytest.mark.extended
@pytest.mark.parametrize(("stage", "picture"), [("coarse", "coarse"), ("joint", "redirected")])
def test_a_redirector_is_told_by_what_evaluation_would_say(
    networks, samples, checked, stage, picture
):
    conventions = networks.config.conventions
    pairs = all_pairs(samples, limit=PAIRS, seed=networks.config.seed)
    made = redirect_pairs(redirect_with(networks), samples, pairs, conventions=conventions)
    real = samples.images[pairs[:, 1]] / np.float32(255)
    scored = image_metrics(made[picture] / 2 + 0.5, real)["l1"].mean()
    found = checked(stage)
    assert found.metric == ("l1_coarse" if stage == "coarse" else "l1")
    # Evaluation's pictures lie in [0, 1], a network's in [-1, 1].
    assert found.value == pytest.approx(2 * scored, rel=1e-4)
    first = {name: made[name][:64] for name in found.outputs}
    assert set(first) == ({"flow"} if stage == "coarse" else {"flow", "residual"})
    for name, values in first.items():
        np.testing.assert_allclose(found.outputs[name], values, atol=1e-4)
        assert np.abs(values).max() > 0


@pytest.mark.extended
@pytest.mark.parametrize("stage", ["estimator", "judge"])
def test_an_estimator_is_told_by_its_mean_angle(networks, samples, checked, stage):
    model = getattr(networks, stage)
    scores = score_estimator(
        lambda inputs: model(inputs)["gaze"], samples, conventions=networks.config.conventions
    )
    found = checked(stage, pairs=10**6)  # every patch is in some pair
    assert found.metric == "error_deg"
    assert found.value == pytest.approx(scores.error_deg, rel=1e-4)
    assert found.metrics["yaw_error_deg"] > 0
    assert found.outputs == {}


def test_looking_again_finds_the_same_and_new_weights_others(networks, samples):
    model = networks.averaged.joined
    validation = stage_validation(networks, "joint", samples=samples, pairs=PAIRS)
    before = [w.copy() for w in model.get_weights()]
    first, second = validation(), validation()
    assert first.metrics == second.metrics
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.set_weights([1.1 * w for w in before])
    assert validation().metrics != first.metrics
    model.set_weights(before)


def test_batches_of_two_sizes_are_traced_once(networks, samples):
    validation = stage_validation(networks, "joint", samples=samples, pairs=PAIRS)
    validation()
    validation()
    assert validation._forward.experimental_get_tracing_count() == 1


def test_what_is_not_shown_is_not_kept(networks, samples, monkeypatch):
    """Of the first batch flow and residual are; of the others one number a pair."""
    validation = stage_validation(networks, "joint", samples=samples, pairs=PAIRS)
    validation._pairs = np.repeat(validation._pairs, 3, axis=0)
    asked, flows = validation._asked, []

    def watched(pairs):
        assert sum(flow() is not None for flow in flows) <= 1
        made = asked(pairs)
        flows.append(weakref.ref(made["flow"]))
        return made

    monkeypatch.setattr(validation, "_asked", watched)
    found = validation()
    assert len(flows) > 2
    assert found.outputs["flow"] is flows[0]()


def test_samples_without_a_pair_say_so(networks, samples):
    lonely = samples._take(np.arange(len(samples)) == 0)
    with refusal(DataError, "no-pairs", source=lonely.source):
        stage_validation(networks, "joint", samples=lonely, pairs=8)


def test_patience_ends_after_so_many_validations_without_a_better_one():
    patience = Patience(2)
    reported = [patience.tell(step, value) for step, value in [(10, 3.0), (20, 2.0), (30, 2.0)]]
    assert reported == [True, True, False]
    assert not patience.is_over
    assert not patience.tell(40, 2.5)
    assert patience.is_over
    assert (patience.best, patience.best_step) == (2.0, 20)
    assert patience.tell(50, 1.0)
    assert not patience.is_over


def test_what_is_no_number_is_never_the_best():
    patience = Patience(3)
    assert not patience.tell(1, float("nan"))
    assert patience.best_step == 0
    assert patience.tell(2, 5.0)
    assert not patience.tell(3, float("nan"))
    assert patience.best == 5.0


def test_without_patience_nothing_ends():
    patience = Patience(0)
    for step in range(50):
        patience.tell(step, 1.0)
    assert not patience.is_over


def test_a_checkpoint_holds_how_long_one_has_waited(tmp_path):
    patience = Patience(2)
    for step, value in [(10, 1.0), (20, 1.5)]:
        patience.tell(step, value)
    path = tf.train.Checkpoint(**patience.state()).save(str(tmp_path / "c"))
    resumed = Patience(2)
    restoring = tf.train.Checkpoint(**resumed.state()).restore(path)
    restoring.assert_existing_objects_matched()
    assert (resumed.best, resumed.best_step) == (1.0, 10)
    resumed.tell(30, 1.2)
    assert resumed.is_over


def test_a_validation_is_due_every_so_many_steps_and_at_the_end(tiny_config):
    from dataclasses import replace

    how = replace(tiny_config.stage("joint").validation, every=4)
    assert [step for step in range(1, 11) if how.is_due(step, 10)] == [4, 8, 10]
    never = replace(how, every=0)
    assert not any(never.is_due(step, 10) for step in range(1, 11))

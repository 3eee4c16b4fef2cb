"""Runs that start from another run's networks, to train all of them further."""

from dataclasses import replace

import numpy as np
import pytest

from mggr_edge.errors import RunError
from mggr_tf.config.files import load_config
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.runs.adoption import warm_start
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.record import DataRecord
from refusals import refusal


@pytest.fixture
def data():
    return DataRecord("synthetic", ("s1-0",), ("s1-1",), 20, "Apache-2.0")


def run_with(path, config, data, names):
    run = RunFolder.create(path, config, data)
    networks = Networks(config)
    for name, model in {
        "estimator": networks.estimator,
        **{part: networks.redirection.part(part) for part in config.models.parts},
    }.items():
        if name in names:
            model.set_weights(
                [np.full_like(w, 0.01 * (1 + i)) for i, w in enumerate(model.get_weights())]
            )
            save_weights(model, run.weights_file(name))
    return run


ALL = ("estimator", "coarse", "fine")


@pytest.fixture
def stateful(tiny_changes):
    """The tiny config with an estimator that predicts the state of an eye."""
    state = "stages.estimator.losses.state={name: state, weight: 1}"
    return load_config("mggr-edge", changes=[*tiny_changes, "models.estimator_state=true", state])


@pytest.mark.extended
def test_layers_that_the_donor_lacks_start_from_nothing(tmp_path, stateful, tiny_config, data):
    donor = run_with(tmp_path / "donor", tiny_config, data, ALL)
    run = RunFolder.create(tmp_path / "run", stateful, data)
    warm_start(run, donor)
    old, new = Networks(donor.config).estimator, Networks(stateful).estimator
    load_weights(old, donor.weights_file("estimator"))
    load_weights(new, run.weights_file("estimator"))
    for layer in old.layers:
        for one, other in zip(
            layer.get_weights(), new.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    fresh = Networks(stateful).estimator.get_layer("state_logits").get_weights()
    assert new.get_layer("state_logits").get_weights()[0].shape == fresh[0].shape
    assert not np.allclose(new.get_layer("state_logits").get_weights()[0], 0.01)


@pytest.mark.extended
def test_a_window_may_be_new(tmp_path, stateful, data):
    donor = run_with(tmp_path / "donor", stateful, data, ALL)
    windowed = replace(stateful, models=replace(stateful.models, estimator_window=True))
    run = RunFolder.create(tmp_path / "run", windowed, data)
    warm_start(run, donor)
    new = Networks(windowed).estimator
    load_weights(new, run.weights_file("estimator"))
    assert np.ptp(new.get_layer("hidden").get_weights()[0]) == 0, "the donor's constant weights"


@pytest.mark.extended
def test_every_stage_is_still_to_be_trained_and_the_donor_is_recorded(tmp_path, stateful, data):
    donor = run_with(tmp_path / "donor", stateful, data, ALL)
    run = RunFolder.create(tmp_path / "run", stateful, replace(data, subjects=("s2-0",)))
    warm_start(run, donor)
    again = RunFolder.open(run.path)
    assert not any(again.is_complete(stage) for stage in ("estimator", "coarse", "joint"))
    assert all(again.has_weights(name) for name in ALL)
    assert [origin.run for origin in again.record.origins] == ["donor"]
    assert "s1-0" in again.record.seen


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (("coarse", "fine"), "estimator"),
        (("estimator",), "coarse and fine"),
        (("estimator", "coarse"), "fine"),
    ],
)
def test_a_donor_without_a_network_is_refused(tmp_path, stateful, data, there, missing):
    donor = run_with(tmp_path / "donor", stateful, data, there)
    run = RunFolder.create(tmp_path / "run", stateful, data)
    with refusal(RunError, "donor-lacks-network", donor=donor.path, networks=missing):
        warm_start(run, donor)
    assert not any(run.has_weights(name) for name in ALL)


def test_networks_of_another_size_are_refused(tmp_path, stateful, data):
    other = replace(stateful, models=replace(stateful.models, estimator=(4, 8)))
    donor = run_with(tmp_path / "donor", other, data, ALL)
    run = RunFolder.create(tmp_path / "run", stateful, data)
    with refusal(RunError, "donor-network-differs", donor=donor.path, networks="estimator"):
        warm_start(run, donor)

"""Weights that are fitted to integers."""

import importlib.util
import re

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from mggr_edge import Bundle
from mggr_edge.common.progress import no_progress
from mggr_edge.errors import ArtifactError, DataError, MissingPackageError, UsageError
from mggr_edge.models.bundle_archive import read_bundle_files
from mggr_edge.models.contract import Parity
from mggr_edge.models.runtimes import open_file
from mggr_export.exporting.bundle_writer import BundledModel
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.exporter import Exporter
from mggr_export.exporting.labels import label_of
from mggr_export.exporting.request import ExportRequest
from mggr_export.eyes.export_eyes import FITTING_BATCH, choose_eyes
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import models_of_run, outputs_of
from mggr_export.proofs.proof import Converted, Proof, compare, run_each
from mggr_export.qat import Simulation, fitted_to_integers
from mggr_tf.cli import main
from mggr_tf.data.schema import make_samples
from refusals import error_of, refusal

keras = tf.keras


def small_network():
    """Two convolutions, with batch normalisation and a skip around the second."""
    tf.keras.utils.set_random_seed(2)
    eye = keras.Input((8, 8, 3), name="eye")
    features = keras.layers.Conv2D(6, 3, padding="same", name="first")(eye)
    features = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(features))
    more = keras.layers.Conv2D(6, 3, padding="same", name="second")(features)
    joined = keras.layers.Add()([features, more])
    gaze = keras.layers.GlobalAveragePooling2D(name="gaze")(joined)
    return keras.Model({"eye": eye}, gaze)


def noise(count, *, seed):
    values = np.random.default_rng(seed).normal(size=(count, 8, 8, 3))
    return {"eye": values.astype(np.float32)}


def rounded(values, scale):
    return np.round(values / scale) * scale


@pytest.mark.extended
def test_a_convolution_reads_and_multiplies_rounded_values_and_nothing_else_is_rounded():
    eye = keras.Input((1, 1, 4), name="eye")
    made = keras.layers.Conv2D(4, 1, name="alone")(eye)
    model = keras.Model({"eye": eye}, keras.layers.Add(name="sum")([eye, made]))
    kernel = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    bias = np.float32([0.123456, -1, 0, 7])
    model.get_layer("alone").set_weights([kernel, bias])
    x = np.random.default_rng(1).normal(size=(40, 1, 1, 4)).astype(np.float32)
    simulation = Simulation(model)
    simulation.observe({"eye": x}, batch=40)
    read = rounded(x[:, 0, 0], np.abs(x).max() / 127)  # one scale, zero-point 0
    multiplied = rounded(kernel[0, 0], np.abs(kernel[0, 0]).max(axis=0) / 127)  # one a channel
    expected = x[:, 0, 0] + read @ multiplied + bias
    simulated = simulation.model({"eye": x}, training=False)[:, 0, 0]
    np.testing.assert_allclose(simulated, expected, atol=1e-5)
    assert np.abs(expected - model({"eye": x})[:, 0, 0]).max() > 1e-3  # rounding is there at all


def test_ranges_only_widen():
    model = small_network()
    simulation = Simulation(model)
    wide, narrow = noise(16, seed=1), noise(16, seed=2)
    simulation.observe({"eye": 3 * wide["eye"]}, batch=16)
    before = simulation.model(narrow, training=False)
    simulation.observe(narrow, batch=16)
    np.testing.assert_array_equal(before, simulation.model(narrow, training=False))


def test_what_was_not_trained_comes_back_as_it_was():
    model = small_network()
    simulation = Simulation(model)
    simulation.observe(noise(16, seed=1), batch=16)
    inputs = noise(4, seed=3)
    np.testing.assert_array_equal(model(inputs), simulation.fitted()(inputs))


@pytest.mark.extended
def test_a_redirector_is_simulated_with_its_warp_in_float(run):
    model = models_of_run(run)["redirector"]
    simulation = Simulation(model)
    assert type(simulation.model.get_layer("warp")) is type(model.get_layer("warp"))
    branch = simulation.model.get_layer("coarse_branch")
    assert isinstance(branch.get_layer("flow_head"), keras.Sequential)
    convolutions = [
        layer
        for name in ("coarse_branch", "fine_branch")
        for layer in model.get_layer(name).layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(simulation.trained) == 2 * len(convolutions)  # kernels and biases


@pytest.mark.extended
def test_an_int8_file_of_fitted_weights_is_nearer_to_the_float_model():
    model = small_network()
    weights = model.get_weights()
    calibration, fresh = noise(64, seed=4), noise(64, seed=5)
    batches = [noise(FITTING_BATCH, seed=100 + step) for step in range(150)]
    fitted = fitted_to_integers(model, calibration, batches, steps=len(batches))
    right = outputs_of(model, fresh)

    def psnr_db(candidate):
        content = model_format("onnx").int8(
            candidate, calibration, batch=1, advance=lambda count: None
        )
        made = run_each(open_file(content, "onnx"), fresh)
        return compare("gaze", made["gaze"], right["gaze"], data="noise").psnr_db

    assert psnr_db(fitted) > psnr_db(model) + 1
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def _person(name, *, seed, count=24):
    """552 ordered pairs of one person."""
    rng = np.random.default_rng(seed)
    return make_samples(
        rng.integers(0, 255, (count, 64, 64, 3), np.uint8),
        gaze_deg=rng.uniform(-15, 15, (count, 2)).astype(np.float32),
        head_deg=np.zeros((count, 2), np.float32),
        sides=["right"] * count,
        subjects=[name] * count,
        source="noise",
        licence="Apache-2.0",
    )


def _eyes(run, estimator, *, steps, calibrated="0001"):
    return choose_eyes(
        _person("0000", seed=0),
        _person(calibrated, seed=1),
        estimator=estimator,
        conventions=run.config.conventions,
        fitting_steps=steps,
    )


@pytest.mark.extended
def test_eyes_to_fit_on_are_neither_compared_nor_calibrated_on(run):
    steps = 3
    eyes = _eyes(run, models_of_run(run)["estimator"], steps=steps)
    assert eyes.calibration is not None
    assert eyes.fitting is not None
    batches = list(eyes.fitting.batches("redirector"))
    assert [len(batch["eye"]) for batch in batches] == [FITTING_BATCH] * steps
    fitted = {pair for batch in batches for pair in _pairs(batch)}
    assert len(fitted) == FITTING_BATCH * steps
    assert not fitted & {*_pairs(eyes.compared["redirector"])}
    assert not fitted & {*_pairs(eyes.calibration["redirector"])}


@pytest.mark.extended
def test_where_pairs_run_out_some_are_fitted_on_again(run):
    eyes = _eyes(run, models_of_run(run)["estimator"], steps=40)  # 640 pairs of 552
    assert eyes.fitting is not None
    fitted = [pair for batch in eyes.fitting.batches("redirector") for pair in _pairs(batch)]
    assert len(fitted) == 40 * FITTING_BATCH
    assert not {*fitted} & {*_pairs(eyes.compared["redirector"])}


@pytest.mark.extended
def test_a_person_is_not_both_compared_and_calibrated_on(run):
    with refusal(DataError, "people-in-both", count=1, people="0000"):
        _eyes(run, models_of_run(run)["estimator"], steps=1, calibrated="0000")


def _pairs(inputs):
    return [(e.tobytes(), d.tobytes()) for e, d in zip(inputs["eye"], inputs["delta"], strict=True)]


def _exporter(run, name, model, *, fitted, notify):
    return Exporter(
        name,
        model,
        label_of(run, name),
        batch=1,
        eyes=_eyes(run, model, steps=1),
        limits=run.config.limits,
        fitted=fitted,
        progress=no_progress,
        notify=notify,
    )


@pytest.mark.extended
def test_a_fit_that_brings_nothing_is_left_out_and_it_is_said(run):
    model, said = models_of_run(run)["estimator"], []
    exported = _exporter(run, "estimator", model, fitted=model, notify=said.append).export(
        "int8", "onnx"
    )
    assert set(exported.build) == {"calibration", "bias_correction"}
    (line,) = [line for line in said if "QAT" in line]
    after, before = re.findall(r"([\d.]+) dB", line)
    assert after == before
    assert line.startswith("estimator.onnx: ")
    assert "original weights are kept" in line


@pytest.mark.extended
@pytest.mark.parametrize(
    ("plain_faults", "fitted_faults", "gain_db", "is_fitted"),
    [((), (), 0.5, True), ((), ("misses a limit",), 0.5, False), (("misses",), (), -0.5, True)],
)
def test_limits_come_before_decibels(
    run, monkeypatch, plain_faults, fitted_faults, gain_db, is_fitted
):
    model = models_of_run(run)["estimator"]
    fitted = keras.models.clone_model(model)

    def proven(self, made, precision, file_format):
        psnr_db, faults = (40 + gain_db, fitted_faults) if made is fitted else (40, plain_faults)
        parity = (Parity("gaze", 1, "noise", 0.1, 0.1, psnr_db),)
        proof = Proof("int8", run.config.limits.int8, parity, faults)
        return BundledModel(Converted(b"", "int8", "onnx"), proof)

    monkeypatch.setattr(Exporter, "_proven", proven)
    exporter = _exporter(run, "redirector", model, fitted=fitted, notify=lambda text: None)
    assert ("qat" in exporter.export("int8", "onnx").build) == is_fitted


def test_transposed_convolutions_stay_as_they_are():
    x = keras.Input((4, 4, 2), name="x")
    up = keras.layers.Conv2DTranspose(3, 2, strides=2, name="up")(x)
    model = keras.Model({"x": x}, keras.layers.Conv2D(2, 1, name="plain")(up))
    simulation = Simulation(model)
    assert [tuple(weight.shape) for weight in simulation.trained] == [(1, 1, 3, 2), (2,)]


def test_a_shared_layer_is_refused():
    shared = keras.layers.Conv2D(2, 1, name="shared")
    inner = []
    for name in ("one", "two"):
        y = keras.Input((4, 4, 2))
        inner.append(keras.Model(y, shared(y), name=name))
    x = keras.Input((4, 4, 2), name="x")
    model = keras.Model({"x": x}, keras.layers.Add()([inner[0](x), inner[1](x)]))
    with refusal(ArtifactError, "layer-shared", layer="shared"):
        Simulation(model)


@pytest.mark.slow
def test_a_bundle_says_what_fitting_gained_and_comes_out_the_same_again(
    run, eyes, other_eyes, tmp_path
):
    words = ["export", run.path, "--int8", "--qat", "--qat-steps", 40, "--data", eyes]
    words += ["--formats", "onnx", "--calibration", other_eyes]
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        result = CliRunner().invoke(main, list(map(str, [*words, "--out", out])))
        assert result.exit_code == 0, result.output
    assert read_bundle_files(outs[0]) == read_bundle_files(outs[1])
    builds = {
        name: formats[0].build
        for name, formats in Bundle.open(outs[0]).contract.models.items()
        if formats[0].parity
    }
    gained = {name: build["qat"] for name, build in builds.items() if "qat" in build}
    assert gained, result.stderr
    assert all(one["gain_db"] > 0 and one["pairs"] == 640 for one in gained.values())
    result = CliRunner().invoke(main, ["verify", str(outs[0]), "--data", str(eyes)])
    assert result.exit_code == 0, result.output


def test_wrong_use():
    with refusal(UsageError, "qat-without-int8", precision="float32"):
        ExportRequest("float32", qat_steps=3)
    result = CliRunner().invoke(main, ["export", "--int8", "--qat-steps", "9"])
    error_of(result, "qat-steps-without-qat", steps=9)


def test_the_package_that_fits_is_missing(run, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "mggr_export.exporting.export_run.find_spec",
        lambda name: None if name == "tensorflow_model_optimization" else found(name),
    )
    package = "TensorFlow Model Optimization"
    with refusal(MissingPackageError, "missing-package", package=package):
        export_run(
            run,
            tmp_path / "bundle",
            ExportRequest("int8", qat_steps=1),
            progress=no_progress,
            notify=lambda text: None,
        )
    assert not (tmp_path / "bundle").exists()

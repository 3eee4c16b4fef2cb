"""Correction of the mean error that int8 weights cause."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mggr_edge.common.progress import no_progress
from mggr_edge.models.bundle import Bundle
from mggr_export.exporting.bundle_writer import BundledModel
from mggr_export.exporting.exporter import Exporter
from mggr_export.formats import model_format
from mggr_export.formats.keras_models import (
    outputs_of,
    outputs_with_bias,
    with_shifted_outputs,
)
from mggr_export.proofs.proof import Converted, run_each
from mggr_tf.config import ConversionLimits
from mggr_tf.models.critics import build_estimator


@pytest.fixture(scope="module")
def estimator():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(3)
    return build_estimator((4, 6), size_px=32, squeeze=3, window=True, state=True)


def inputs(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "eye": rng.uniform(-1, 1, (count, 32, 32, 3)).astype(np.float32),
        "head_pose": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
    }


def test_only_linear_dense_outputs_can_be_shifted(estimator):
    # The output `state` ends with a sigmoid.
    assert outputs_with_bias(estimator) == ("gaze",)


def test_a_shift_changes_one_output_of_a_copy(estimator):
    some = inputs(3)
    before = outputs_of(estimator, some)
    shifted = outputs_of(with_shifted_outputs(estimator, {"gaze": np.float32([0.5, -2])}), some)
    assert shifted["gaze"] == pytest.approx(before["gaze"] + [0.5, -2], abs=1e-5)
    assert np.array_equal(shifted["state"], before["state"])
    assert np.array_equal(outputs_of(estimator, some)["gaze"], before["gaze"])


@pytest.mark.extended
@pytest.mark.parametrize("file_format", ["tflite", "onnx"])
def test_corrected_files_have_a_smaller_mean_error(estimator, file_format):
    some = inputs(24)
    exporter = Exporter(
        name="estimator",
        model=estimator,
        label="",
        batch=1,
        eyes=SimpleNamespace(calibration={"estimator": some}),  # type: ignore[arg-type]
        limits=ConversionLimits(),
        fitted=None,
        progress=no_progress,
        notify=print,
    )
    corrected, change = exporter._corrected(estimator, file_format)

    def mean_error(model) -> np.ndarray:
        convert = model_format(file_format)
        made = run_each(
            convert.open(convert.int8(model, some, batch=1, advance=lambda n: None)), some
        )
        return (made["gaze"] - outputs_of(estimator, some)["gaze"]).mean(axis=0)

    before, after = mean_error(estimator), mean_error(corrected)
    assert change["gaze"] == pytest.approx(-before, rel=0.01)
    assert np.abs(before).max() > 1e-3
    assert np.abs(after).max() < np.abs(before).max() / 2


@pytest.mark.extended
def test_the_contract_contains_the_correction(int8_bundle):
    artifact = Bundle.open(int8_bundle[0]).contract.models["estimator"][0]
    correction = artifact.build["bias_correction"]["gaze"]
    assert len(correction) == 2
    assert all(np.isfinite(correction))


@pytest.mark.extended
def test_layers_of_an_estimator_that_stays_float_are_explained(estimator):
    some = inputs(6)
    exporter = Exporter(
        name="estimator",
        model=estimator,
        label="",
        batch=1,
        eyes=SimpleNamespace(calibration={"estimator": some}, compared={"estimator": some}),
        limits=ConversionLimits(),
        fitted=None,
        progress=no_progress,
        notify=print,
    )
    stays = BundledModel(Converted(b"", "float32", "tflite"), proof=None)  # type: ignore[arg-type]
    table = exporter.explain(stays).splitlines()
    assert table[0].startswith("estimator.tflite")
    assert any("features1" in line for line in table[2:])

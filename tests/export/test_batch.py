"""Files that take both eyes of a face at once."""

import numpy as np
import pytest
from click.testing import CliRunner

from mggr_edge import Bundle, Gaze
from mggr_edge.common.progress import no_progress
from mggr_export.exporting.export_run import export_run
from mggr_export.exporting.request import ExportRequest
from mggr_tf.cli import main

pytestmark = pytest.mark.extended


def exported(run, out, precision):
    request = ExportRequest(precision, formats=("tflite", "onnx"), batch=2)
    return export_run(run, out, request, progress=no_progress, notify=lambda text: None)


@pytest.fixture(scope="module")
def both_eyes(run, tmp_path_factory):
    """A float32 bundle in both formats."""
    return exported(run, tmp_path_factory.mktemp("batch") / "float", "float32")


def agrees_in_every_format(bundle):
    for formats in Bundle.open(bundle).contract.models.values():
        for artifact in (one for one in formats if one.parity):
            assert {spec.shape[0] for spec in (*artifact.inputs, *artifact.outputs)} == {2}
            assert all(parity.pairs == 256 for parity in artifact.parity)
    return True


def test_it_agrees_with_keras(both_eyes):
    assert agrees_in_every_format(both_eyes)


@pytest.mark.slow
def test_int8_agrees_with_keras(run, tmp_path):
    assert agrees_in_every_format(exported(run, tmp_path / "int8", "int8"))


def test_a_device_sees_no_difference(both_eyes, float_bundle):
    two, one = Bundle.open(both_eyes), Bundle.open(float_bundle[0])
    patches = list(np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3), np.uint8))
    how = {"sides": ["right", "left"], "target": Gaze(-5, 12), "head_pose": Gaze(0, -15)}
    for got, right in zip(
        two.redirect_crops(patches, **how), one.redirect_crops(patches, **how), strict=True
    ):
        assert got.source.array() == pytest.approx(right.source.array(), abs=1e-3)
        np.testing.assert_allclose(got.flow, right.flow, atol=1e-3)
        np.testing.assert_allclose(got.redirected.astype(int), right.redirected, atol=1)


def test_one_eye_alone_can_be_asked_for(both_eyes, float_bundle):
    patch = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    made = [
        Bundle.open(path).redirect_eye(patch, side="left", target=Gaze(3, -9))
        for path in (both_eyes, float_bundle[0])
    ]
    np.testing.assert_allclose(made[0].astype(int), made[1], atol=1)


def test_verify_takes_an_odd_number_of_pairs(both_eyes, eyes):
    result = CliRunner().invoke(
        main, ["verify", str(both_eyes), "--data", str(eyes), "--pairs", "7"]
    )
    assert result.exit_code == 0, result.output

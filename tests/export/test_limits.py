"""The packaged limits: what was measured passes, and what loses as much as a bug costs does not."""

from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from mggr_edge.common.progress import no_progress
from mggr_edge.models.contract import OpeningParity, Parity
from mggr_edge.models.installed import bundle_path
from mggr_export.eyes.export_eyes import balanced_pairs, inputs_of_pairs
from mggr_export.eyes.sight import Openings
from mggr_export.formats.keras_models import models_of_run
from mggr_export.proofs.proof import Converted, misses, opening_misses, prove
from mggr_tf.config.conversion_limits import ConversionLimits, Limit, PrecisionLimits
from mggr_tf.data.source import open_samples
from mggr_tf.runs.listing import open_run

LIMITS = ConversionLimits()
BEFORE = PrecisionLimits(
    flow=Limit(mean_abs=0.15),
    coarse=Limit(min_psnr_db=38.0),
    residual=Limit(mean_abs=0.01),
    redirected=Limit(min_psnr_db=38.0),
    gaze=Limit(mean_abs=0.08),
    extra_gaze_deg=0.15,
)
"""The limits before: a config that was written with them reads as this."""

MEASURED = {
    "TFLite, drawn": (46.3, 0.0424, 41.9),
    "TFLite, photographs": (45.6, 0.0371, 42.3),
    "ONNX, drawn": (49.6, 0.0218, 45.9),
    "ONNX, photographs": (48.8, 0.0198, 45.4),
}
"""The packaged redirector in int8: PSNR in dB, mean flow in pixels, PSNR inside the opening."""


def faults(limits, *, psnr_db, flow_px, opening_db):
    parity = (
        Parity("redirected", 256, "measured", 0.3, 0.005, psnr_db),
        Parity("flow", 256, "measured", 1.4, flow_px, 52.0),
    )
    opening = OpeningParity("lids", 0.18, opening_db)
    return misses(limits, parity), opening_misses(limits, opening)


@pytest.mark.parametrize("of", MEASURED)
def test_ten_decibels_less_than_measured_are_refused_by_every_figure(of):
    psnr_db, flow_px, opening_db = MEASURED[of]
    whole, opening = faults(LIMITS.int8, psnr_db=psnr_db, flow_px=flow_px, opening_db=opening_db)
    assert not whole
    assert not opening
    worse = {
        "psnr_db": psnr_db - 10,
        "flow_px": flow_px * 10**0.5,
        "opening_db": opening_db - 10,
    }
    whole, opening = faults(LIMITS.int8, **worse)
    assert len(whole) == 2
    assert len(opening) == 1


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_pictures_and_the_opening_are_limited_in_every_rounded_precision(precision):
    limits = LIMITS.of(precision)
    assert limits.opening.min_psnr_db < limits.redirected.min_psnr_db
    assert not opening_misses(BEFORE, OpeningParity("lids", 0.2, 1.0))


def with_weights_of(content, bits):
    """An int8 TFLite file whose convolutions' weights use fewer bits."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    step = 2 ** (8 - bits)
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT8 and data is not None and len(tensor.shape) == 4:
            weights = np.asarray(data, np.uint8).view(np.int8).astype(float)
            rounded = np.clip(np.rint(weights / step) * step, -127, 127).astype(np.int8)
            model.buffers[tensor.buffer].data = rounded.view(np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def proven():
    """Proves a file of the packaged redirector on four drawn people."""
    run = open_run("default")
    config = replace(
        run.config, synthetic=replace(run.config.synthetic, seed=501, subjects=4, per_group=3)
    )
    samples = open_samples(
        "synthetic", config=config, subjects=None, progress=no_progress, notify=lambda text: None
    )
    pairs = balanced_pairs(samples, 64, seed=65)
    conventions = run.config.conventions

    def prove_it(content, limits):
        return prove(
            Converted(content, "int8"),
            models_of_run(run)["redirector"],
            inputs_of_pairs(samples, pairs, conventions)["redirector"],
            limits=replace(LIMITS, int8=limits),
            data=samples.source,
            openings=Openings.of_pairs(samples, pairs, conventions),
        )

    return prove_it


@pytest.mark.slow
def test_weights_of_six_bits_are_refused_which_the_limits_before_let_pass(proven):
    sound = (bundle_path("default-int8") / "models" / "redirector.tflite").read_bytes()
    assert not proven(sound, LIMITS.int8).faults
    spoilt = with_weights_of(sound, 6)
    assert not proven(spoilt, BEFORE).faults
    found = proven(spoilt, LIMITS.int8)
    assert any("inside the eye opening" in fault for fault in found.faults)
    assert any(fault.startswith("flow differs") for fault in found.faults)

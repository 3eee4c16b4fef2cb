"""What counts as equal."""

import re

import numpy as np
import pytest

from mggr_edge.models.contract import GazeShown
from mggr_export.proofs.proof import (
    breaks,
    compare,
    compare_each,
    gaze_misses,
    misses,
    parity_text,
    run_each,
)
from mggr_tf.config.conversion_limits import ConversionLimits, Limit

LIMITS = ConversionLimits()
RIGHT = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 2, 2, 3)


def test_equal_tensors_have_no_psnr_and_miss_nothing():
    parity = compare("redirected", RIGHT, RIGHT, data="noise")
    assert (parity.max_abs, parity.mean_abs, parity.psnr_db, parity.pairs) == (0, 0, None, 2)
    assert not breaks(Limit(0.0, 0.0, 99.0), parity)


def test_psnr_is_over_the_tensor_s_range():
    parity = compare("redirected", RIGHT + np.float32(0.02), RIGHT, data="noise")
    assert parity.psnr_db == pytest.approx(40, abs=0.01)  # 2 / 0.02
    assert parity.max_abs == pytest.approx(0.02, rel=1e-3)
    flow = compare("flow", 5 * RIGHT + np.float32(0.1), 5 * RIGHT, data="noise")
    assert flow.psnr_db == pytest.approx(40, abs=0.01)  # spans 10


@pytest.mark.parametrize(
    ("limit", "broken"),
    [
        (Limit(max_abs=0.03), False),
        (Limit(max_abs=0.01), True),
        (Limit(mean_abs=0.01), True),
        (Limit(min_psnr_db=39), False),
        (Limit(min_psnr_db=41), True),
        (Limit(max_abs=0.03, min_psnr_db=41), True),
    ],
)
def test_a_limit_is_missed_on_either_count(limit, broken):
    parity = compare("redirected", RIGHT + np.float32(0.02), RIGHT, data="noise")
    assert breaks(limit, parity) is broken


def test_not_a_number_is_a_miss():
    made = RIGHT.copy()
    made[0, 0, 0, 0] = np.nan
    assert misses(LIMITS.float32, [compare("redirected", made, RIGHT, data="noise")])
    assert misses(LIMITS.int8, [compare("redirected", made, RIGHT, data="noise")])


def test_every_precision_limits_every_output():
    for precision in ("float32", "float16", "int8"):
        for output in ("flow", "coarse", "residual", "redirected", "gaze"):
            assert str(LIMITS.of(precision).of(output))
    with pytest.raises(ValueError, match="'extra_gaze_deg' has no limit"):
        LIMITS.int8.of("extra_gaze_deg")


def test_each_input_runs_alone_and_the_table_shows_what_broke():
    seen = []

    def runner(inputs):
        seen.append(inputs["eye"].shape)
        return {"redirected": inputs["eye"], "flow": inputs["eye"] + 1}

    right = {"redirected": RIGHT, "flow": RIGHT}
    parity = compare_each(run_each(runner, {"eye": RIGHT}), right, data="noise")
    assert seen == [(1, 2, 2, 3)] * 2
    assert [p.output for p in parity] == ["flow", "redirected"]
    table = parity_text({"redirector": ("float32", LIMITS.float32, parity)})
    assert [line.endswith("FAILED") for line in table.splitlines()] == [False, True, False]
    assert "flow differs from Keras: at most 1, on average 1" in misses(LIMITS.float32, parity)[0]


def test_other_outputs_than_keras_are_a_fault_of_ours():
    with pytest.raises(ValueError, match="Keras has"):
        compare_each({"coarse": RIGHT}, {"flow": RIGHT}, data="noise")


@pytest.mark.parametrize(("extra", "missed"), [(0.05, []), (0.2, ["0.2", "0.1"]), (-3, [])])
def test_what_conversion_costs_in_aim_is_limited(extra, missed):
    reported = gaze_misses(LIMITS.int8, GazeShown(error_deg=5 + extra, keras_error_deg=5))
    assert len(reported) == bool(missed)
    assert re.findall(r"\d+\.\d+", " ".join(reported)) == missed  # measured, limit
    assert gaze_misses(LIMITS.int8, GazeShown(error_deg=float("nan"), keras_error_deg=5))

"""How the brightness of drawn eyes changes with the gaze, beside photographs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_tf.data.listing import samples_of
from mggr_tf.data.source import scan_source
from mggr_tf.evaluation.estimator_scores import draw_frontal_eyes
from mggr_tf.evaluation.eye_shading import COLUMBIA, measure_eye_shading
from refusals import refusal


@pytest.mark.extended
def test_lids_and_eyeballs_darken_when_eyes_look_down() -> None:
    found = measure_eye_shading(draw_frontal_eyes(people=30, per_side=5, seed=12)).rows()
    for name, real in COLUMBIA.rows().items():
        assert np.sign(found[name].value) == np.sign(real.value), name
    # Without the bulge of the lids over the cornea, these ratios were 0.01 and 0.17.
    for name in ("below_outer", "below_middle"):
        assert found[name].value > 0.35 * COLUMBIA.rows()[name].value, name


@pytest.mark.columbia
@pytest.mark.skipif(
    "MGGR_COLUMBIA" not in os.environ,
    reason="the data set is for research only and is not part of the repository",
)
def test_the_published_numbers_are_those_of_the_photographs() -> None:
    folder = Path(os.environ["MGGR_COLUMBIA"])
    subjects = [f"{number:04d}" for number in range(1, 33)]
    found = measure_eye_shading(
        samples_of(scan_source(folder, subjects=subjects), source=folder)
    ).rows()
    for name, row in COLUMBIA.rows().items():
        np.testing.assert_allclose(found[name], row, rtol=0, atol=2e-3, err_msg=name)


def test_a_known_shading_is_found_and_a_moved_crop_does_not_count() -> None:
    rng = np.random.default_rng(1)
    samples = draw_frontal_eyes(people=3, per_side=4, seed=2)
    images = samples.images.copy()
    for row, (pitch, _) in enumerate(samples.gaze_deg):
        group = samples.group == samples.group[row]
        first = samples.images[np.flatnonzero(group)[0]].astype(np.float64)
        first[41:52, 22:43] += 0.006 * pitch * first.mean()
        shift = rng.integers(-2, 3)
        images[row] = np.clip(np.roll(first, shift, axis=0), 0, 255)
    found = measure_eye_shading(replace(samples, images=images)).rows()
    assert found["below_middle"].value == pytest.approx(0.6, abs=0.15)
    assert found["opening_middle"].value == pytest.approx(0.0, abs=0.15)


def test_samples_that_show_no_change_are_refused() -> None:
    samples = draw_frontal_eyes(people=2, per_side=2, seed=2)
    level = replace(samples, gaze_deg=samples.gaze_deg * np.float32([0, 1]))
    turned = replace(samples, head_deg=samples.head_deg + np.float32([0, 25]))
    for useless in (level, turned):
        with refusal(DataError, "too-few-gazes", source=samples.source):
            measure_eye_shading(useless)

"""Where an occlusion of an eye is measured."""

import numpy as np
import pytest

from mggr_edge.vision.iris import Eye
from mggr_tf.drawn_eyes import draw_samples
from mggr_tf.drawn_eyes.rendered import LEAST_OPENNESS, OUTLINE_POINTS, USUAL_REGION, lid_region


def outline(openness, width=40.0, side="right"):
    """A level eye about (32, 32), in the order of `Eye.outline`."""
    t = np.arange(9) / 8
    x = width * (t - 0.5)
    depth = openness * width / 2 * np.sin(np.pi * t)
    lower, upper = np.stack([x, depth], 1), np.stack([x, -depth], 1)[7:0:-1]
    points = np.concatenate([lower, upper]) * ([1, 1] if side == "right" else [-1, 1]) + 32
    return points.astype(np.float32)


def openness_of(points, side="right"):
    return Eye(side, points, (0, 0), 1).openness


def test_an_open_eye_s_region_is_its_outline():
    np.testing.assert_allclose(lid_region(outline(0.3)), outline(0.3), atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("openness", [0.0, 0.05, 0.12])
def test_a_closing_eye_s_region_reaches_over_its_lids(side, openness):
    points = outline(openness, side=side)
    region = lid_region(points)
    assert openness_of(region, side) == pytest.approx(LEAST_OPENNESS, abs=1e-4)
    np.testing.assert_array_equal(region[[0, 8]], points[[0, 8]])
    middle = slice(1, 8)
    assert (region[middle, 1] > points[middle, 1]).all(), "the lower lid's side is below"


def test_many_regions_are_found_at_once_and_the_unknown_stays_unknown():
    eyes = np.stack([outline(0.0), outline(0.3), np.full((16, 2), np.nan)])
    regions = lid_region(eyes)
    for eye, region in zip(eyes, regions, strict=True):
        np.testing.assert_array_equal(lid_region(eye), region)
    assert np.isnan(regions[2]).all()


@pytest.mark.extended
def test_the_usual_region_is_that_of_drawn_eyes():
    samples = draw_samples(subjects=12, per_group=2, heads=2, seed=9)
    left = samples.side == 1
    regions = samples.lid_region.copy()
    regions[left, :, 0] = 63 - regions[left, :, 0]
    assert len(USUAL_REGION) == OUTLINE_POINTS == regions.shape[1]
    np.testing.assert_allclose(regions.mean(0), USUAL_REGION, atol=3)

"""How far irises move that should stay, with redirectors that move pictures by known amounts."""

import numpy as np
import pytest

from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import image_to_network
from mggr_edge.vision.iris import IrisFinder
from mggr_tf.evaluation.estimator_scores import draw_frontal_eyes
from mggr_tf.evaluation.eye_motion import measure_still_eyes, still_text


@pytest.fixture(scope="module")
def eyes():
    return draw_frontal_eyes(people=3, per_side=1, seed=5)


@pytest.fixture(scope="module")
def finder():
    with Bundle.open("default") as bundle:
        yield IrisFinder(bundle.model("iris"))


def measured(eyes, finder, redirect, off_deg=(3, 5)):
    return measure_still_eyes(
        redirect,
        eyes,
        source_deg=eyes.gaze_deg + np.float32(off_deg),
        finder=finder,
        conventions=Conventions(),
    )


def test_a_redirector_that_changes_nothing_moves_nothing(eyes, finder):
    found = measured(eyes, finder, lambda inputs: {"redirected": inputs["eye"]})
    assert (found.eyes, found.moved_px, found.moved_deg) == (6, 0, 0)


def test_a_moved_picture_moves_its_irises(eyes, finder):
    """By 2 pixels to the right: 2 / 8.3 of a radius of 5.85 mm, at 9.8 mm, is 8 degrees."""

    def redirect(inputs):
        return {"redirected": np.roll(inputs["eye"], 2, axis=2)}

    found = measured(eyes, finder, redirect)
    assert found.drift_px == pytest.approx((2, 0), abs=0.3)
    assert found.moved_px == pytest.approx(2, abs=0.3)
    assert 6 < found.moved_deg < 11
    assert found.far_share == 1
    assert "6 eyes" in still_text(found)


def test_within_the_tolerance_no_iris_moves_and_beyond_it_less(eyes, finder):
    def redirect(inputs):
        return {"redirected": np.roll(inputs["eye"], 2, axis=2)}

    assert measured(eyes, finder, redirect, off_deg=(1, 2)).moved_px == 0
    partly = measured(eyes, finder, redirect, off_deg=(0, 3.9)).moved_px
    assert 0.5 < partly < 1.5


def test_the_redirector_is_told_the_source_and_asked_for_the_label(eyes, finder):
    asked = []

    def redirect(inputs):
        asked.append(inputs)
        return {"redirected": inputs["eye"]}

    measured(eyes, finder, redirect)
    delta = np.concatenate([one["delta"] for one in asked]) * Conventions().delta_scale_deg
    np.testing.assert_allclose(delta, np.tile([-3, -5], (6, 1)), atol=1e-4)
    shown = np.concatenate([one["eye"] for one in asked])
    np.testing.assert_allclose(shown, image_to_network(eyes.images), atol=1e-6)

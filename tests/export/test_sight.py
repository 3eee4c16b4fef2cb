"""Where redirected pictures look: a closed form with an estimator that reads a pixel."""

import numpy as np
import pytest
from tensorflow import keras

from mggr_edge.models.conventions import Conventions
from mggr_export.eyes.sight import Sight
from mggr_tf.data.schema import make_samples

CONVENTIONS = Conventions()


@pytest.fixture
def estimator():
    """Sees what the first two values of the first pixel say."""
    eye = keras.Input((64, 64, 3), name="eye")
    head = keras.Input((2,), name="head_pose")
    gaze = keras.layers.Lambda(lambda pixels: pixels[:, 0, 0, :2], name="gaze")(eye)
    return keras.Model({"eye": eye, "head_pose": head}, {"gaze": gaze})


@pytest.fixture
def sight(estimator):
    gaze = np.float32([[0, 0], [0, 15], [0, 25], [10, 0]])
    samples = make_samples(
        np.zeros((4, 64, 64, 3), np.uint8),
        gaze_deg=gaze,
        head_deg=np.zeros((4, 2), np.float32),
        sides=["right"] * 4,
        subjects=["0001"] * 4,
        source="nothing",
        licence="Apache-2.0",
    )
    pairs = np.array([[0, 1], [0, 2], [1, 0], [0, 3]])
    return Sight.of_pairs(estimator, samples, pairs, CONVENTIONS)


def pictures_of(gaze_deg):
    made = np.zeros((len(gaze_deg), 64, 64, 3), np.float32)
    made[:, 0, 0, :2] = np.float32(gaze_deg) / CONVENTIONS.gaze_scale_deg
    return made


def test_errors_are_angles_to_the_target(sight):
    shown = sight.compare(
        pictures_of([[0, 15], [0, 25], [0, 0], [6, 0]]), pictures_of(sight.target_deg)
    )
    assert shown.error_deg == pytest.approx(1, abs=1e-3)  # 4 degrees off in one of four
    assert shown.keras_error_deg == pytest.approx(0, abs=1e-2)
    assert shown.extra_deg == pytest.approx(1, abs=1e-2)


def test_far_targets_are_counted(sight):
    assert sight.wide_share == 0.25

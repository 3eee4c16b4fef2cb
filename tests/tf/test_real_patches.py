"""Signs and sides, read off real patches. Runs where MGGR_COLUMBIA names a folder of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from mggr_tf.data.listing import samples_of
from mggr_tf.data.source import scan_source

pytestmark = [
    pytest.mark.columbia,
    pytest.mark.skipif(
        "MGGR_COLUMBIA" not in os.environ,
        reason="the data set is for research only and is not part of the repository",
    ),
]


@pytest.fixture(scope="module")
def loaded():
    subjects = [f"{number:04d}" for number in range(1, 13)]
    folder = Path(os.environ["MGGR_COLUMBIA"])
    scanned = scan_source(folder, subjects=subjects)
    return samples_of(scanned, source=folder), scanned


@pytest.fixture(scope="module")
def samples(loaded):
    return loaded[0]


def dark_centre(images):
    """Mean centroid (x, y) of the darkest pixels around the middle: the iris."""
    grey = images.mean(-1)[:, 16:48, 12:52]
    y, x = np.mgrid[16:48, 12:52]
    dark = grey <= np.quantile(grey, 0.12, axis=(1, 2), keepdims=True)
    return np.array([(dark * x).sum() / dark.sum(), (dark * y).sum() / dark.sum()])


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_iris_goes_where_the_labels_say(loaded, side):
    """In canonical patches yaw + lies to the right for both eyes, and pitch + up."""
    samples, scanned = loaded
    shown = np.array([label.side == side for label in scanned.labels])

    def centre(axis, sign):
        return dark_centre(samples.images[shown & (np.sign(samples.gaze_deg[:, axis]) == sign)])

    assert (centre(1, 1) - centre(1, -1))[0] > 2
    assert (centre(0, 1) - centre(0, -1))[1] < -0.5


def test_the_nose_lies_on_the_right_of_canonical_patches(samples):
    """Label L is the subject's right eye: turned to its own side, the face hides its nose.

    Of a head turned to the image's left (yaw -) the eye on the image's left keeps
    the nose at its right edge; turned the other way it shows the temple's hair or
    background at its left. If labels were swapped, so would these be.
    """
    left_turned = samples.images[samples.head_deg[:, 1] <= -25].astype(float)
    frontal = samples.images[np.abs(samples.head_deg[:, 1]) < 5].astype(float)
    strip = {
        name: images[:, 34:60].mean((0, 1, 3))
        for name, images in (("left", left_turned), ("frontal", frontal))
    }
    change = strip["left"] - strip["frontal"]
    # The lit side of the nose comes in at the right edge, not at the left one.
    assert change[-8:].mean() > change[:8].mean()

"""Which pairs an export is calibrated and compared on."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.errors import DataError
from mggr_edge.models.conventions import Conventions
from mggr_export.eyes.export_eyes import balanced_pairs, inputs_of_pairs
from mggr_tf.data.schema import make_samples
from refusals import refusal


def make(sizes=((9, 3), (3, 2), (2, 2))):
    """Subjects with (pictures a head pose, head poses): far from balanced."""
    subjects, heads = [], []
    for number, (pictures, poses) in enumerate(sizes):
        for pose in range(poses):
            subjects += [f"{number:04d}"] * pictures
            heads += [[0.0, 15.0 * pose]] * pictures
    rng = np.random.default_rng(0)
    count = len(subjects)
    return make_samples(
        rng.integers(0, 255, (count, 64, 64, 3), np.uint8),
        gaze_deg=rng.uniform(-15, 15, (count, 2)).astype(np.float32),
        head_deg=np.asarray(heads, np.float32),
        sides=["right"] * count,
        subjects=subjects,
        source="noise",
        licence="Apache-2.0",
    )


@given(count=st.integers(1, 60), seed=st.integers(0, 5))
def test_subjects_occur_equally_often(count, seed):
    samples = make()
    pairs = balanced_pairs(samples, count, seed=seed)
    assert pairs.shape == (count, 2)
    assert (samples.group[pairs[:, 0]] == samples.group[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    often = Counter(samples.subject[pairs[:, 0]])
    assert max(often.values()) - min(often.values() if len(often) == 3 else [0]) <= 1
    assert np.array_equal(pairs, balanced_pairs(samples, count, seed=seed))


def test_head_poses_occur_equally_often():
    samples = make(((5, 4), (5, 4)))
    pairs = balanced_pairs(samples, 40, seed=1)
    assert set(Counter(samples.head_deg[pairs[:, 0], 1].tolist()).values()) == {10}


def test_no_pair_comes_twice_while_there_are_others():
    samples = make(((4, 2), (4, 2)))  # 48 ordered pairs
    pairs = balanced_pairs(samples, 48, seed=2)
    assert len(np.unique(pairs, axis=0)) == 48
    assert len(balanced_pairs(samples, 100, seed=2)) == 100


def test_lone_pictures_are_no_pairs():
    with refusal(DataError, "no-pairs"):
        balanced_pairs(make(((1, 3),)), 4, seed=1)


def test_inputs_are_the_device_s_own_by_name():
    samples = make()
    pairs = balanced_pairs(samples, 5, seed=1)
    inputs = inputs_of_pairs(samples, pairs, Conventions())
    assert {name: set(arrays) for name, arrays in inputs.items()} == {
        "redirector": {"eye", "gazemap", "delta", "head_pose"},
        "estimator": {"eye", "head_pose"},
    }
    delta = (samples.gaze_deg[pairs[:, 1]] - samples.gaze_deg[pairs[:, 0]]) / [10, 15]
    assert inputs["redirector"]["delta"] == pytest.approx(delta, abs=1e-6)

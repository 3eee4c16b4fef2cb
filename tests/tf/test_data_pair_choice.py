"""Pairs for evaluation are counted, not listed, and are those that a list would give."""

import numpy as np
import pytest

from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.schema import make_samples


def samples_with_groups(*sizes):
    subjects = [f"{number:02d}" for number, size in enumerate(sizes) for _ in range(size)]
    angles = np.zeros((len(subjects), 2), np.float32)
    return make_samples(
        np.zeros((len(subjects), 1, 1, 3), np.uint8),
        gaze_deg=angles,
        head_deg=angles,
        sides=["right"] * len(subjects),
        subjects=subjects,
        source="zeros",
        licence="none",
    )


def listed(samples):
    indices = range(len(samples))
    return [
        (i, j) for i in indices for j in indices if i != j and samples.group[i] == samples.group[j]
    ]


@pytest.mark.parametrize("sizes", [(2,), (3, 1, 2), (4, 2, 5)])
def test_all_pairs_are_those_of_a_list(sizes):
    samples = samples_with_groups(*sizes)
    assert list(map(tuple, all_pairs(samples, limit=10**6, seed=1))) == listed(samples)


def test_a_choice_is_the_lists_choice():
    samples = samples_with_groups(4, 2, 5)
    everything = np.array(listed(samples))
    chosen = np.sort(np.random.default_rng(7).choice(len(everything), 9, replace=False))
    np.testing.assert_array_equal(all_pairs(samples, limit=9, seed=7), everything[chosen])


def test_a_group_of_thousands_is_no_matter():
    """A list of these pairs would hold 900 million."""
    pairs = all_pairs(samples_with_groups(30_000), limit=50, seed=1)
    assert pairs.shape == (50, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert pairs.max() < 30_000


@pytest.mark.parametrize("bin_deg", [0, 5])
def test_head_poses_are_binned_about_zero(bin_deg):
    head = np.float32([[0, -2.4], [0, 2.4], [2.4, 0], [0, 2.6], [0, 2.6]])
    samples = make_samples(
        np.zeros((5, 1, 1, 3), np.uint8),
        gaze_deg=np.zeros((5, 2), np.float32),
        head_deg=head,
        sides=["right"] * 5,
        subjects=["a"] * 5,
        source="zeros",
        licence="none",
        head_bin_deg=bin_deg,
    )
    expected = [0, 0, 0, 1, 1] if bin_deg else [0, 1, 3, 2, 2]
    np.testing.assert_array_equal(samples.group, expected)
    np.testing.assert_array_equal(samples.head_deg, head)

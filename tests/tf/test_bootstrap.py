"""Intervals over resampled subjects: do they hold what they promise?"""

import numpy as np
import pytest

from mggr_edge.errors import UsageError
from mggr_tf.evaluation.bootstrap import (
    difference,
    draw_subjects,
    is_ahead,
    ratio,
    resampled_mean,
)
from refusals import refusal


def simulated(rng, *, subjects, gain):
    """Two methods' errors: people differ a lot, and in how much they gain."""
    sizes = rng.integers(10, 40, subjects)
    subject = np.repeat(np.arange(subjects), sizes)
    level = rng.normal(5, 2, subjects)[subject]
    theirs = level + rng.normal(0, 1, len(subject))
    ours = level - (gain + rng.normal(0, 0.5, subjects))[subject] + rng.normal(0, 1, len(subject))
    return subject, ours, theirs


@pytest.mark.extended
@pytest.mark.parametrize("subjects", [6, 11, 30])
def test_the_interval_contains_the_truth_as_often_as_it_says(subjects):
    rng = np.random.default_rng(subjects)
    simulations, inside = 400, 0
    for _ in range(simulations):
        subject, ours, theirs = simulated(rng, subjects=subjects, gain=0.3)
        draws = draw_subjects(subject, draws=1000)
        found = difference(resampled_mean(draws, ours), resampled_mean(draws, theirs))
        inside += found.low <= -0.3 <= found.high
    assert 0.90 <= inside / simulations <= 0.99


def test_a_clear_difference_is_ahead_and_its_opposite_is_not():
    subject, ours, theirs = simulated(np.random.default_rng(0), subjects=20, gain=2)
    draws = draw_subjects(subject)
    ours, theirs = resampled_mean(draws, ours), resampled_mean(draws, theirs)
    assert is_ahead(difference(ours, theirs), lower_is_better=True)
    assert not is_ahead(difference(theirs, ours), lower_is_better=True)
    assert is_ahead(difference(theirs, ours), lower_is_better=False)


def test_a_method_is_never_ahead_of_itself():
    subject, ours, _ = simulated(np.random.default_rng(0), subjects=20, gain=0)
    same = resampled_mean(draw_subjects(subject), ours)
    for lower_is_better in (True, False):
        assert not is_ahead(difference(same, same), lower_is_better=lower_is_better)


def test_methods_that_do_not_differ_are_hardly_ever_ahead():
    rng = np.random.default_rng(1)
    ahead = 0
    for _ in range(200):
        subject, ours, theirs = simulated(rng, subjects=15, gain=0)
        draws = draw_subjects(subject, draws=500)
        found = difference(resampled_mean(draws, ours), resampled_mean(draws, theirs))
        ahead += is_ahead(found, lower_is_better=True)
    assert ahead / 200 < 0.06  # 2.5 % are expected


def test_one_person_alone_does_not_make_a_method_ahead():
    """A hundred pairs of one person are one observation, not a hundred."""
    rng = np.random.default_rng(2)
    subject = np.repeat(np.arange(6), [200, 10, 10, 10, 10, 10])
    theirs = rng.normal(5, 0.1, len(subject))
    ours = theirs - np.where(subject == 0, 1.0, -0.2)
    assert ours.mean() < theirs.mean()
    draws = draw_subjects(subject)
    found = difference(resampled_mean(draws, ours), resampled_mean(draws, theirs))
    assert not is_ahead(found, lower_is_better=True)


def test_draws_are_those_of_the_pairs_themselves():
    subject = np.array(["b", "a", "b", "c", "d", "e", "f"])
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    draws = draw_subjects(subject, draws=5)
    for counts, mean in zip(draws.counts, resampled_mean(draws, values).values, strict=True):
        weights = counts[[1, 0, 1, 2, 3, 4, 5]]  # names in order: a, b, c, ...
        assert counts.sum() == 6
        assert mean == pytest.approx(np.average(values, weights=weights))


def test_the_ratio_is_of_means():
    subject = np.repeat(np.arange(6), 4)
    rng = np.random.default_rng(0)
    theirs = rng.uniform(1, 2, 24)
    draws = draw_subjects(subject)
    found = ratio(resampled_mean(draws, 0.8 * theirs), resampled_mean(draws, theirs))
    np.testing.assert_allclose([found.estimate, found.low, found.high], 0.8)


def test_a_seed_repeats_its_draws_and_another_does_not():
    subject = np.arange(10)
    first, same, other = (draw_subjects(subject, draws=20, seed=s).counts for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_too_few_subjects_are_refused():
    with refusal(UsageError, "too-few-subjects", expected=6, found=5):
        draw_subjects([1, 1, 2, 2, 3, 4, 5])

"""Slopes within groups: offsets of groups do not count, and errors cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from mggr_tf.evaluation.eye_motion import mean_of, slopes_within


def test_offsets_of_groups_do_not_count() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(30), 7)
    # Groups with larger causes have lower values: a plain regression sees the wrong sign.
    causes = rng.uniform(-10, 10, (210, 2)) + group[:, None]
    values = causes @ [0.3, -0.2] - 5.0 * group
    slopes = slopes_within(values, causes, group=group, person=group // 2)
    np.testing.assert_allclose([s.value for s in slopes], [0.3, -0.2], atol=1e-12)
    np.testing.assert_allclose([s.error for s in slopes], 0, atol=1e-12)


def test_standard_errors_cover_the_spread_between_people() -> None:
    """Each person has a slope of their own: the error of the mean slope is that of 40 people."""
    errors, found = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(40), 12)
        causes = rng.uniform(-1, 1, (480, 1))
        own = rng.normal(1.0, 0.5, 40)
        values = own[person] * causes[:, 0] + rng.normal(0, 0.1, 480)
        (slope,) = slopes_within(values, causes, group=person, person=person)
        found.append(slope.value)
        errors.append(slope.error)
    assert np.mean(found) == pytest.approx(1.0, abs=0.02)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)


def test_errors_of_means_count_people() -> None:
    person = np.repeat(np.arange(50), 20)
    values = np.random.default_rng(3).normal(0, 2, 50)[person]
    found = mean_of(values, person=person)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values[::20].std(ddof=1) / np.sqrt(50))


def test_causes_that_go_together_are_refused() -> None:
    causes = np.arange(6.0)[:, None] * [1, 2]
    with pytest.raises(ValueError, match="independently"):
        slopes_within(np.zeros(6), causes, group=np.zeros(6), person=np.zeros(6))
    with pytest.raises(ValueError, match="independently"):
        slopes_within(np.zeros(3), np.eye(3)[:, :2], group=np.arange(3), person=np.zeros(3))
    with pytest.raises(ValueError, match="independently"):
        slopes_within(np.zeros(0), np.zeros((0, 2)), group=np.zeros(0), person=np.zeros(0))

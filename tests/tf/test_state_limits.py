"""Limits of the device from answers whose distributions are known."""

import numpy as np
import pytest

from mggr_tf.evaluation.state_scores import derive_limits, limits_text


def answers(count=1000, *, noise=0.01, seed=0):
    """Closed eyes, open ones and covered ones, and an estimator that errs by `noise`."""
    rng = np.random.default_rng(seed)
    closed = np.tile([0.04, 0.05, 0.0], (count, 1))
    opened = np.tile([0.30, 0.9, 0.0], (count, 1))
    covered = np.tile([0.30, 0.9, 0.6], (count, 1))
    right = np.concatenate([closed, opened, covered]).astype(np.float32)
    return right + rng.normal(0, noise, right.shape).astype(np.float32), right


def test_limits_lie_at_the_edges_of_both_kinds():
    seen, right = answers()
    found = derive_limits(seen, right, seen[1000:1500])
    edge = 2.33 * 0.01  # 99 % of a normal distribution
    assert found["openness"].none == pytest.approx(0.04 + edge, abs=0.005)
    assert found["openness"].full == pytest.approx(0.30 - edge, abs=0.006)
    assert found["iris_visible"].none == pytest.approx(0.05 + edge, abs=0.005)
    assert found["occlusion"].none == pytest.approx(0.6 - edge, abs=0.005)
    assert found["occlusion"].full == pytest.approx(0.0 + edge, abs=0.006)
    assert all(of.left_alone >= 0.99 and of.redirected >= 0.97 for of in found.values())
    assert len(limits_text(found).splitlines()) == 4


def test_photographs_that_are_read_lower_lower_the_limit():
    seen, right = answers()
    squinting = np.float32([[0.16, 0.6, 0.0]] * 1000)
    found = derive_limits(seen, right, squinting)
    assert found["openness"].full == pytest.approx(0.16, abs=0.01)
    assert found["iris_visible"].full == pytest.approx(0.6, abs=0.01)


def test_kinds_that_overlap_leave_limits_in_order_and_say_so():
    seen, right = answers(noise=0.3)
    found = derive_limits(seen, right, seen[1000:1500])
    for name, of in found.items():
        sign = -1 if name == "occlusion" else 1
        assert sign * (of.full - of.none) == pytest.approx(0.02)
        assert of.left_alone < 0.99


@pytest.mark.parametrize("without", [0, 1, 2])
def test_without_a_kind_there_are_none(without):
    seen, right = answers(count=10)
    keep = np.repeat([0, 1, 2], 10) != without
    found = derive_limits(seen[keep], right[keep], np.zeros((0, 3), np.float32))
    assert found is None

"""A face that a network shifts stays where it is, and the iris goes instead."""

from __future__ import annotations

import numpy as np
import pytest

from mggr_edge.anchoring import anchored

RESIDUAL = np.random.default_rng(0).normal(0, 0.1, (64, 64, 3)).astype(np.float32)


def test_a_shift_of_everything_becomes_none() -> None:
    flow = np.full((64, 64, 2), (0.75, -3.25), np.float32)
    still, _ = anchored(flow, RESIDUAL)
    np.testing.assert_allclose(still, 0, atol=1e-6)


def test_flow_that_leaves_the_border_alone_is_left_alone() -> None:
    flow = np.zeros((64, 64, 2), np.float32)
    flow[24:40, 20:44] = (3, -2)
    kept, residual = anchored(flow, RESIDUAL)
    np.testing.assert_array_equal(kept, flow)
    np.testing.assert_array_equal(residual, RESIDUAL)


@pytest.mark.parametrize("rise", [3, -4])
def test_an_iris_that_stays_in_a_face_that_shifts_goes_the_other_way(rise: int) -> None:
    """Looking up by `rise` pixels in a crop that follows: skin comes from above, the iris stays."""
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 1] = -rise
    flow[28:36, 28:36] = 0
    residual = np.zeros((64, 64, 3), np.float32)
    residual[32, 32] = 1
    still, painted = anchored(flow, residual)
    # What stood at row 32 is now `rise` rows higher, and reads the iris `rise` rows below.
    np.testing.assert_allclose(still[32 - rise, 32], (0, rise), atol=1e-5)
    np.testing.assert_allclose(still[5, 5], 0, atol=1e-5)
    assert painted[32 - rise, 32].tolist() == [1, 1, 1]

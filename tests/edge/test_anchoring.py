"""A face that a network shifts stays where it is, and the iris goes instead."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.eye_crop import EyeCrop
from mggr_edge.pipeline.compositing import compose_eye, skin_drift

PATCH = EyeCrop(centre=(31.5, 31.5), width_px=64.0, roll_deg=0.0)
"""A crop whose pixels are the frame's."""

OPENING = [(12, 32), (32, 20), (52, 32), (32, 44)]


def redirected(
    frame: NDArray[np.uint8], flow: NDArray[np.float32], residual: NDArray[np.float32]
) -> NDArray[np.uint8]:
    eye = compose_eye(
        frame, crop=PATCH, opening=OPENING, flow=flow, residual=residual, drift=skin_drift(flow)
    )
    out = frame.copy()
    out[eye.region.slices] = eye.pixels
    return out


def test_a_shift_of_everything_changes_nothing() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    flow = np.full((64, 64, 2), (0.75, -3.25), np.float32)
    assert skin_drift(flow) == (0.75, -3.25)
    np.testing.assert_array_equal(redirected(frame, flow, np.zeros((64, 64, 3), np.float32)), frame)


def test_flow_that_leaves_the_border_alone_is_no_drift() -> None:
    flow = np.zeros((64, 64, 2), np.float32)
    flow[16:48, 16:48] = (3, -2)
    assert skin_drift(flow) == (0.0, 0.0)


@pytest.mark.parametrize("rise", [3, -4])
def test_an_iris_that_stays_in_a_face_that_shifts_goes_the_other_way(rise: int) -> None:
    """Looking up by `rise` pixels in a crop that follows: skin comes from above, the iris stays."""
    frame = np.full((64, 64, 3), 200, np.uint8)
    frame[28:36, 28:36] = 40
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 1] = -rise
    flow[20:44, 22:42] = 0
    residual = np.zeros((64, 64, 3), np.float32)
    residual[32, 32] = 0.2
    out = redirected(frame, flow, residual)
    assert out[32 - rise, 32].tolist() == [66, 66, 66], "the residual goes with the iris"
    out[32 - rise, 32] = 40
    rows, columns = np.nonzero(out[..., 0] == 40)
    assert (rows.min(), rows.max()) == (28 - rise, 35 - rise)
    assert (columns.min(), columns.max()) == (28, 35)
    np.testing.assert_array_equal(out[:8], frame[:8])

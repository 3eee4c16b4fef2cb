"""Directions: signs, closed forms and limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.angles import Gaze, angular_error_deg, unit_vectors

angles = st.floats(-89, 89)


def test_axes_point_where_the_convention_says():
    x_right_y_up_z_camera = unit_vectors([[0, 0], [0, 90], [90, 0]])
    np.testing.assert_allclose(x_right_y_up_z_camera, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)


@given(angles, angles)
def test_unit_vectors_have_length_one(pitch, yaw):
    assert np.linalg.norm(unit_vectors([pitch, yaw])) == pytest.approx(1)


@given(angles, angles)
def test_error_along_one_axis_is_the_difference(a, b):
    assert angular_error_deg([a, 0], [b, 0]) == pytest.approx(abs(a - b), abs=1e-6)
    assert angular_error_deg([0, a], [0, b]) == pytest.approx(abs(a - b), abs=1e-6)


def test_tiny_errors_are_not_rounded_to_zero():
    assert angular_error_deg([0, 0], [0, 1e-5]) == pytest.approx(1e-5, rel=1e-3)


@given(angles, angles)
def test_mirroring_twice_is_the_same_gaze(pitch, yaw):
    gaze = Gaze(pitch, yaw)
    assert gaze.mirrored().mirrored() == gaze
    assert gaze.mirrored().pitch_deg == pitch


@pytest.mark.parametrize("bad", [91, -91, float("nan"), float("inf")])
def test_impossible_angles_are_refused(bad):
    with pytest.raises(ValueError, match="yaw_deg must lie in"):
        Gaze(0, bad)

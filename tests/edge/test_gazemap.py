"""The gazemap: geometry, symmetry, smoothness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.gaze_map import DEFAULT_K, draw_gazemap

pitches, yaws = st.floats(-25, 25), st.floats(-30, 30)


def centroid(channel):
    axis = np.arange(channel.shape[0]) - (channel.shape[0] - 1) / 2
    return np.array([(channel.sum(0) * axis).sum(), (channel.sum(1) * axis).sum()]) / channel.sum()


@given(pitches, yaws)
def test_iris_lies_where_the_formula_says(pitch, yaw):
    iris = draw_gazemap([pitch, yaw])[..., 0]
    p, y, r = np.radians(pitch), np.radians(yaw), DEFAULT_K * 32
    wanted = r * np.cos(np.radians(30)) * np.array([np.sin(y) * np.cos(p), -np.sin(p)])
    np.testing.assert_allclose(centroid(iris), wanted, atol=0.1)


@given(pitches, yaws)
def test_mirrors_when_yaw_does(pitch, yaw):
    one, other = draw_gazemap([[pitch, yaw], [pitch, -yaw]])
    np.testing.assert_allclose(one[:, ::-1], other, atol=1e-5)


@given(pitches, yaws)
def test_changes_smoothly_with_the_angle(pitch, yaw):
    one, other = draw_gazemap([[pitch, yaw], [pitch + 0.01, yaw - 0.01]])
    # A hundredth of a degree moves the edge by 2 thousandths of a pixel.
    assert np.abs(one - other).max() < 0.01


def test_areas_are_those_of_disc_and_ellipse():
    iris, eyeball = np.moveaxis(draw_gazemap([20.0, 30.0]), -1, 0)
    r = DEFAULT_K * 32
    assert eyeball.sum() == pytest.approx(np.pi * r**2, rel=0.01)
    squeeze = np.cos(np.radians(20)) * np.cos(np.radians(30))
    assert iris.sum() == pytest.approx(np.pi * (r / 2) ** 2 * squeeze, rel=0.03)


def test_batches_keep_their_shape():
    assert draw_gazemap(np.zeros((3, 2, 2)), size_px=32).shape == (3, 2, 32, 32, 2)

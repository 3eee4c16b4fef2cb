"""The state that landmarks show: a disc between two lids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mggr_edge.models.network_io import EyeState
from mggr_edge.vision.eye_quality import state_from_landmarks
from mggr_edge.vision.iris import Eye

_ROUND = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def slit(half_px: float, *, width_px: float = 60.0) -> NDArray[np.float32]:
    """[16, 2] corners at the left and right, straight lids `half_px` above and below the middle."""
    x = np.concatenate([np.linspace(-1, 1, 9), np.linspace(1, -1, 9)[1:-1]]) * width_px / 2
    y = np.array([0, *[half_px] * 7, 0, *[-half_px] * 7])
    return np.stack([x, y], axis=1).astype(np.float32)


def eye(outline: NDArray, centre: tuple[float, float] = (0.0, 0.0), radius: float = 12.0) -> Eye:
    return Eye("right", outline.astype(np.float32), centre, radius)


@pytest.mark.parametrize("half_px", [0.0, 2.0, 4.0, 8.0, 11.0, 12.0, 20.0])
def test_the_visible_part_of_an_iris_between_straight_lids_is_that_of_a_strip(
    half_px: float,
) -> None:
    share = min(1.0, half_px / 12.0)
    strip = 2 / np.pi * (np.arcsin(share) + share * np.sqrt(1 - share**2))
    state = state_from_landmarks(eye(slit(half_px)))
    assert state.iris_visible == pytest.approx(strip, abs=0.01)
    assert state.openness == pytest.approx(2 * half_px / 60.0, abs=1e-6)
    assert state.occlusion == 0.0


def test_a_lid_over_half_of_the_disc_leaves_half() -> None:
    outline = slit(20.0) - np.array([0.0, 20.0], np.float32)
    assert state_from_landmarks(eye(outline)).iris_visible == pytest.approx(0.5, abs=0.01)


def test_an_iris_beside_the_eye_is_not_visible() -> None:
    assert state_from_landmarks(eye(slit(10.0), (100.0, 0.0))).iris_visible == 0.0


@given(
    st.floats(-180, 180),
    st.floats(0.2, 20),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.floats(0, 20),
)
def test_the_state_does_not_depend_on_place_size_and_roll(
    roll_deg: float, scale: float, place: tuple[float, float], half_px: float
) -> None:
    level = eye(slit(half_px), (3.0, 2.0))
    r = np.radians(roll_deg)
    turn = scale * np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    centre = turn @ level.iris_centre + place
    moved = eye(level.outline @ turn.T + place, (float(centre[0]), float(centre[1])), 12 * scale)
    one, other = state_from_landmarks(level), state_from_landmarks(moved)
    assert other.openness == pytest.approx(one.openness, abs=1e-3)
    # A few of 256 points lie so near to a lid that they change sides.
    assert other.iris_visible == pytest.approx(one.iris_visible, abs=0.04)


def test_an_outline_without_extent_is_a_closed_eye() -> None:
    assert state_from_landmarks(eye(np.zeros((16, 2)))) == EyeState(0.0, 0.0, 0.0)

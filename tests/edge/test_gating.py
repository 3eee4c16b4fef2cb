from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mggr_edge.visibility import Visibility

from mggr_edge.angles import Gaze
from mggr_edge.gating import Gate, Limits, gate

GOOD = {
    "openness": 0.3,
    "width_px": 60.0,
    "relative_width": 1.0,
    "visible": Visibility(0.3, 0.6),
    "confidence": 1.0,
    "head_pose": Gaze(0, 0),
    "shift_deg": 10.0,
}
ANGLES = st.floats(0, 90)


def test_a_good_eye_is_redirected_fully() -> None:
    assert gate(**GOOD) == Gate(1.0, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"openness": 0.05}, "closed"),
        ({"width_px": 8.0}, "too small"),
        ({"visible": Visibility(0.02, 0.6)}, "not clear"),
        ({"visible": Visibility(0.3, -0.2)}, "covered"),
        ({"confidence": 0.4}, "not clear"),
        ({"relative_width": 0.3}, "head turned"),
        ({"head_pose": Gaze(0, -50)}, "head turned"),
        ({"head_pose": Gaze(45, 0)}, "head turned"),
        ({"shift_deg": 60.0}, "gaze too far"),
    ],
)
def test_each_hindrance_alone_leaves_the_eye_alone(change: dict, reason: str) -> None:
    assert gate(**{**GOOD, **change}) == Gate(0.0, reason)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_wider_eye_is_never_redirected_less(one: float, other: float) -> None:
    low, high = sorted([one, other])
    weak = gate(**{**GOOD, "openness": low}).strength
    assert weak <= gate(**{**GOOD, "openness": high}).strength


@given(ANGLES, ANGLES, st.sampled_from([-1, 1]))
def test_a_head_turned_further_is_never_redirected_more(
    one: float, other: float, sign: int
) -> None:
    low, high = sorted([one, other])
    strong = gate(**{**GOOD, "head_pose": Gaze(0, sign * low)}).strength
    assert strong >= gate(**{**GOOD, "head_pose": Gaze(0, sign * high)}).strength


@given(
    st.floats(0, 1),
    st.floats(0, 100),
    st.floats(0, 2),
    st.builds(Visibility, st.floats(0, 1), st.floats(-2, 1)),
    st.floats(0, 1),
    st.tuples(ANGLES, ANGLES),
    st.floats(0, 180),
)
def test_strength_is_a_share_and_a_reason_stands_for_less(
    openness: float,
    width_px: float,
    relative: float,
    visible: Visibility,
    confidence: float,
    head_deg: tuple[float, float],
    shift: float,
) -> None:
    verdict = gate(
        openness=openness,
        width_px=width_px,
        relative_width=relative,
        visible=visible,
        confidence=confidence,
        head_pose=Gaze(*head_deg),
        shift_deg=shift,
    )
    assert 0.0 <= verdict.strength <= 1.0
    assert (verdict.reason is None) == (verdict.strength == 1.0)


def test_the_ramp_between_the_limits_is_gradual() -> None:
    none, full = Limits().openness
    steps = [
        gate(**{**GOOD, "openness": none + (full - none) * i / 50}).strength for i in range(51)
    ]
    assert steps[0] == 0.0
    assert steps[-1] == 1.0
    assert max(b - a for a, b in pairwise(steps)) < 0.04


def test_limits_can_be_set() -> None:
    lenient = Limits(openness=(0.0, 0.01))
    assert gate(**{**GOOD, "openness": 0.05}, limits=lenient) == Gate(1.0, None)

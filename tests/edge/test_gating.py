from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.gating import (
    CLOSED_AT,
    EyeGate,
    Gate,
    Limits,
    gate_geometry,
    gate_shift,
    gate_tolerance,
    weakest,
)

GOOD = {
    "width_px": 60.0,
    "relative_width": 1.0,
    "sharpness": 0.3,
    "confidence": 1.0,
    "head_pose": Gaze(0, 0),
    "turned_away_deg": 0.0,
}
OPEN = {"openness": 0.3, "iris_visible": 0.8, "occlusion": 0.0}
FREE = Gate(1.0, None)
ANGLES = st.floats(0, 90)
SHARES = st.floats(0, 1)
LIMITS = Limits()


def state_gate(**change: float) -> EyeGate:
    return EyeGate(rest=FREE).with_state(EyeState(**{**OPEN, **change}), LIMITS)


def test_a_good_eye_is_redirected_fully() -> None:
    gate = gate_geometry(**GOOD).with_state(EyeState(**OPEN), LIMITS)
    assert gate == EyeGate(rest=FREE, seen=FREE, lids=FREE)
    assert gate.allowed == FREE
    assert gate_shift(10.0) == FREE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"width_px": 8.0}, "too small"),
        ({"sharpness": 0.02}, "not clear"),
        ({"confidence": 0.4}, "not clear"),
        ({"head_pose": Gaze(0, -50)}, "head turned"),
        ({"head_pose": Gaze(45, 0)}, "head turned"),
        # Narrow, and the head does not explain it.
        ({"relative_width": 0.3}, "not clear"),
        ({"relative_width": 0.3, "turned_away_deg": -25.0}, "not clear"),
    ],
)
def test_each_hindrance_alone_leaves_the_face_alone(change: dict, reason: str) -> None:
    gate = gate_geometry(**{**GOOD, **change})
    assert gate.rest == Gate(0.0, reason)
    assert gate.seen == FREE


def test_the_narrow_far_eye_of_a_turned_head_is_hidden() -> None:
    gate = gate_geometry(**{**GOOD, "relative_width": 0.3, "turned_away_deg": 25.0})
    assert (gate.rest, gate.seen) == (FREE, Gate(0.0, "head turned"))
    wide = gate_geometry(**{**GOOD, "relative_width": 0.8, "turned_away_deg": 25.0})
    assert (wide.rest, wide.seen) == (FREE, FREE)


@pytest.mark.parametrize(
    ("change", "group", "reason"),
    [
        ({"openness": 0.05}, "lids", "closed"),
        ({"iris_visible": 0.1}, "lids", "closed"),
        ({"occlusion": 0.9}, "seen", "covered"),
    ],
)
def test_a_state_closes_or_hides_an_eye(change: dict[str, float], group: str, reason: str) -> None:
    gate = state_gate(**change)
    assert getattr(gate, group) == Gate(0.0, reason)
    others = {"rest", "seen", "lids"} - {group}
    assert {getattr(gate, name) for name in others} == {FREE}
    assert gate.allowed == Gate(0.0, reason)


def test_a_closed_or_hidden_eye_has_no_weight_in_the_gaze() -> None:
    assert EyeGate(FREE).gaze_weight == 1.0
    assert EyeGate(FREE, lids=Gate(0.5, "closed")).gaze_weight == 0.5
    assert EyeGate(FREE, lids=Gate(CLOSED_AT, "closed")).gaze_weight == 0.0
    assert EyeGate(FREE, seen=Gate(0.0, "covered")).gaze_weight == 0.0


def test_a_hidden_far_eye_stays_hidden_whatever_its_state() -> None:
    gate = EyeGate(rest=FREE, seen=Gate(0.0, "head turned")).with_state(EyeState(**OPEN), LIMITS)
    assert gate.seen == Gate(0.0, "head turned")


def test_a_shift_that_is_too_far_has_its_reason() -> None:
    assert gate_shift(60.0) == Gate(0.0, "gaze too far")


def test_an_eye_near_the_target_needs_no_redirection() -> None:
    assert gate_tolerance(2.0) == Gate(0.0, "on target")
    assert gate_tolerance(3.9) == Gate(pytest.approx(0.5), "on target")
    assert gate_tolerance(6.0) == FREE
    assert gate_tolerance(1.0, Limits(tolerance_deg=(0.0, 0.5))) == FREE


@given(SHARES, SHARES, st.sampled_from(["openness", "iris_visible"]))
def test_a_wider_eye_is_never_redirected_less(one: float, other: float, measure: str) -> None:
    low, high = sorted([one, other])
    weak, strong = (state_gate(**{measure: value}).allowed.strength for value in (low, high))
    assert weak <= strong


@given(SHARES, SHARES)
def test_an_eye_that_is_covered_more_is_never_redirected_more(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert state_gate(occlusion=low).seen.strength >= state_gate(occlusion=high).seen.strength


@given(ANGLES, ANGLES, st.sampled_from([-1, 1]))
def test_a_head_turned_further_is_never_redirected_more(
    one: float, other: float, sign: int
) -> None:
    low, high = sorted([one, other])
    strong, weak = (
        gate_geometry(**{**GOOD, "head_pose": Gaze(0, sign * value)}).allowed.strength
        for value in (low, high)
    )
    assert strong >= weak


@given(
    st.tuples(SHARES, SHARES, SHARES),
    st.floats(0, 100),
    st.floats(0, 2),
    SHARES,
    SHARES,
    st.tuples(ANGLES, ANGLES),
    st.floats(0, 180),
)
def test_strength_is_a_share_and_a_reason_stands_for_less(
    state: tuple[float, float, float],
    width_px: float,
    relative: float,
    sharpness: float,
    confidence: float,
    head_deg: tuple[float, float],
    shift: float,
) -> None:
    gate = gate_geometry(
        width_px=width_px,
        relative_width=relative,
        sharpness=sharpness,
        confidence=confidence,
        head_pose=Gaze(*head_deg),
        turned_away_deg=head_deg[1],
    ).with_state(EyeState(*state), LIMITS)
    for verdict in (gate.rest, gate.seen, gate.lids, gate.allowed, gate_shift(shift)):
        assert 0.0 <= verdict.strength <= 1.0
        assert (verdict.reason is None) == (verdict.strength == 1.0)


@pytest.mark.parametrize("measure", ["openness", "iris_visible", "occlusion"])
def test_the_ramp_between_the_limits_is_gradual(measure: str) -> None:
    none, full = getattr(LIMITS, measure)
    steps = [
        state_gate(**{measure: none + (full - none) * i / 50}).allowed.strength for i in range(51)
    ]
    assert steps[0] == 0.0
    assert steps[-1] == pytest.approx(1.0)
    assert max(b - a for a, b in pairwise(steps)) < 0.04


def test_limits_can_be_set() -> None:
    lenient = Limits(openness=(0.0, 0.01), sharpness=(0.0, 0.01))
    state = EyeState(**{**OPEN, "openness": 0.05})
    assert EyeGate(rest=FREE).with_state(state, lenient).lids == FREE
    assert gate_geometry(**{**GOOD, "sharpness": 0.02}, limits=lenient).rest == FREE


def test_the_weakest_gate_is_the_first_of_equal_ones() -> None:
    gates = Gate(0.5, "closed"), Gate(0.2, "covered"), Gate(0.2, "too small")
    assert weakest(*gates) == Gate(0.2, "covered")

"""Strength moves as an eye may: no snap, no flicker, and a blink at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mggr_edge.easing import BACK_AT, MOST_DEG_PER_S, RISE_PER_S, Easing

from mggr_edge.gating import Gate, Reason

STEP_S = 0.04
FREE = Gate(1.0, None)
REASONS: tuple[Reason, ...] = ("closed", "too small", "head turned", "gaze too far")


def _after(*verdicts: Gate, shift_deg: float = 10.0, at_once: bool = True) -> list[Gate]:
    ease = Easing(at_once=at_once)
    return [ease(verdict, shift_deg=shift_deg, step_s=STEP_S) for verdict in verdicts]


def test_the_first_frame_has_what_it_is_allowed_or_nothing() -> None:
    assert _after(FREE) == [FREE]
    (later,) = _after(FREE, at_once=False)
    assert later.strength == pytest.approx(STEP_S * RISE_PER_S)
    assert later.reason == "easing in"


def test_a_blink_takes_the_strength_at_once_and_gives_it_back_gradually() -> None:
    _, closed, *opening = _after(FREE, Gate(0.0, "closed"), *[FREE] * 7)
    assert closed == Gate(0.0, "closed")
    steps = [verdict.strength for verdict in opening]
    assert steps == pytest.approx([STEP_S * RISE_PER_S * n for n in range(1, 4)] + 4 * [1.0])
    assert [verdict.reason for verdict in opening] == ["easing in"] * 3 + [None] * 4


def test_whatever_else_holds_an_eye_back_lets_it_go_gradually() -> None:
    _, *falling = _after(FREE, *[Gate(0.0, "gaze too far")] * 12, shift_deg=40.0)
    degrees = [40.0 * verdict.strength for verdict in falling]
    assert degrees[0] == pytest.approx(40.0 - STEP_S * MOST_DEG_PER_S)
    assert degrees[-1] == 0
    assert {verdict.reason for verdict in falling} == {"gaze too far"}


def test_an_eye_that_would_turn_far_comes_more_slowly() -> None:
    _, near = _after(Gate(0.0, "closed"), FREE, shift_deg=10.0)
    _, far = _after(Gate(0.0, "closed"), FREE, shift_deg=60.0)
    assert far.strength == pytest.approx(STEP_S * MOST_DEG_PER_S / 60.0)
    assert far.strength < near.strength


def test_what_hovers_at_a_limit_stays_away() -> None:
    hovering = [Gate(s, "closed") for s in (0.0, 0.2, 0.0, 0.3, 0.1, BACK_AT - 0.01)]
    assert {verdict.strength for verdict in _after(FREE, *hovering)[1:]} == {0.0}
    back = _after(Gate(0.0, "closed"), *[Gate(BACK_AT, "closed")] * 9)
    assert back[-1] == Gate(BACK_AT, "closed")


def test_what_falls_and_is_not_let_go_may_hover() -> None:
    falling = _after(FREE, *[Gate(0.2, "head turned")] * 30)
    assert falling[-1] == Gate(0.2, "head turned")


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(REASONS)), min_size=1, max_size=30),
    st.floats(0, 90),
    st.booleans(),
)
def test_no_frame_turns_an_eye_faster_than_the_limit(
    held: list[tuple[float, Reason]], shift_deg: float, at_once: bool
) -> None:
    verdicts = [Gate(share, None if share == 1.0 else reason) for share, reason in held]
    eased = _after(*verdicts, shift_deg=shift_deg, at_once=at_once)
    for verdict in eased:
        assert 0 <= verdict.strength <= 1
        assert (verdict.reason is None) == (verdict.strength == 1.0)
    for before, after, verdict in zip(eased, eased[1:], verdicts[1:], strict=False):
        most = STEP_S * MOST_DEG_PER_S + 1e-6
        assert shift_deg * (after.strength - before.strength) <= most
        if verdict.reason != "closed":
            assert shift_deg * (before.strength - after.strength) <= most

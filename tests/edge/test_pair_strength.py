"""Both eyes of a face have one strength over time: no squint, no jump, no flicker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from mggr_edge.pipeline.gating import CLOSED_AT, EyeGate, Gate, Reason
from mggr_edge.pipeline.pair_strength import (
    BACK_AT,
    BACK_S,
    BAND,
    LEAVE_S,
    LONGEST_BLINK_S,
    MOST_DEG_PER_S,
    REOPEN_S,
    RISE_PER_S,
)
from pair_frames import (
    CLOSED,
    COVERED,
    FAR,
    FREE,
    OPEN,
    SMALL,
    STEP_S,
    Face,
    Pair,
    Shown,
    both,
    rest,
    shown,
)

RATES = [0.1, 1.0, 3.0, 15.0, 25.0, 30.0, 60.0, 240.0]


# One strength for both eyes


@pytest.mark.parametrize("held", [rest(0.0), rest(0.3), rest(0.9)])
def test_what_holds_one_eye_back_holds_both(held: EyeGate) -> None:
    for gates in ((held, OPEN), (OPEN, held)):
        for one in shown(*[gates] * 20):
            assert one.strengths == (held.rest.strength,) * 2
            assert (one.right.reason, one.left.reason) == ("too small",) * 2


def test_one_closed_eye_leaves_both_alone() -> None:
    (wink,) = shown((OPEN, CLOSED))
    assert (wink.right, wink.left) == (Gate(0.0, "closed"), Gate(0.0, "closed"))


@pytest.mark.parametrize(("hidden", "reason"), [(FAR, "head turned"), (COVERED, "covered")])
def test_a_picture_gets_its_verdict_at_once_and_a_hidden_eye_leaves_the_other_alone(
    hidden: EyeGate, reason: Reason
) -> None:
    (one,) = shown((hidden, OPEN))
    assert (one.right, one.left, one.eyes, one.phase) == (Gate(0.0, reason), FREE, "left", "on")
    (other,) = shown((OPEN, hidden))
    assert (other.right, other.left, other.eyes) == (FREE, Gate(0.0, reason), "right")
    (neither,) = shown(both(hidden))
    assert (neither.right, neither.left) == (Gate(0.0, reason),) * 2
    assert (neither.eyes, neither.phase) == ("neither", "off")


def test_a_hidden_eye_does_not_hold_the_other_one_back() -> None:
    hidden = EyeGate(Gate(0.0, "not clear"), Gate(0.0, "covered"), Gate(0.0, "closed"))
    for one in shown(*[(hidden, OPEN)] * 20):
        assert (one.right, one.left) == (Gate(0.0, "covered"), FREE)


def test_a_shift_too_far_holds_both_back() -> None:
    one = Face().show(both(OPEN), shift=Gate(0.4, "gaze too far"))
    assert (one.right, one.left) == (Gate(0.4, "gaze too far"),) * 2


# Coming and going


def test_the_first_frame_has_everything_that_it_allows_or_nothing() -> None:
    (first,) = shown(both(OPEN))
    assert (first.right, first.left, first.phase) == (FREE, FREE, "on")
    (later, next_frame) = shown(*[both(OPEN)] * 2, at_once=False)
    assert (later.right, later.phase) == (Gate(0.0, "easing in"), "rising")
    assert next_frame.right == Gate(pytest.approx(STEP_S * RISE_PER_S), "easing in")


def test_a_blink_takes_both_strengths_at_once_and_gives_them_back_gradually() -> None:
    _, closed, *opening = shown(both(OPEN), (OPEN, CLOSED), *[both(OPEN)] * 7)
    assert (closed.right, closed.left, closed.phase) == (*[Gate(0.0, "closed")] * 2, "blink")
    steps = [one.right.strength for one in opening]
    assert steps == pytest.approx([STEP_S * RISE_PER_S * n for n in range(1, 4)] + 4 * [1.0])
    assert [one.right.reason for one in opening] == ["easing in"] * 3 + [None] * 4
    assert [one.phase for one in opening] == ["rising"] * 3 + ["on"] * 4


def test_lids_that_are_half_open_again_end_no_blink_before_they_stay_so() -> None:
    ajar = EyeGate(FREE, lids=Gate(BACK_AT - 0.01, "closed"))
    face = Face(step_s=1 / 240)
    face.show(both(OPEN))
    face.show(both(CLOSED))
    for gates in [ajar, ajar, OPEN, CLOSED, OPEN, ajar, OPEN]:
        assert face.show(both(gates)).phase == "blink"


@pytest.mark.parametrize("held", [FREE, Gate(0.3, "too small"), Gate(0.0, "too small")])
def test_eyes_that_are_closed_at_first_have_nothing(held: Gate) -> None:
    nearly = EyeGate(held, lids=Gate(CLOSED_AT / 2, "closed"))
    (one,) = shown(both(nearly))
    assert (one.strengths, one.phase) == ((0.0, 0.0), "blink" if held == FREE else "off")
    assert one.right.reason == ("too small" if held.strength == 0 else "closed")


def test_eyes_that_stay_shut_are_off_and_come_back_later_than_after_a_blink() -> None:
    waits = []
    for shut_s in (0.8 * LONGEST_BLINK_S, 1.5 * LONGEST_BLINK_S):
        face = Face(step_s=0.01)
        face.show(both(OPEN))
        closed = [face.show(both(CLOSED)) for _ in range(round(shut_s / 0.01))]
        assert {one.right for one in closed} == {Gate(0.0, "closed")}
        waits.append(0.01 * face.frames_until(both(OPEN), lambda one: one.right.strength > 0))
        assert closed[-1].phase == ("blink" if len(waits) == 1 else "off")
    assert waits == pytest.approx([REOPEN_S, BACK_S], abs=0.011)


def test_a_hindrance_that_stays_lets_both_eyes_go_gradually() -> None:
    far = Gate(0.0, "gaze too far")
    face = Face(shift_deg=40.0)
    face.show(both(OPEN))
    falling = [face.show(both(OPEN), shift=far) for _ in range(20)]
    degrees = [40.0 * one.right.strength for one in falling]
    first = next(n for n, value in enumerate(degrees) if value < 40.0)
    assert degrees[first] == pytest.approx(40.0 - STEP_S * MOST_DEG_PER_S)
    assert falling[first].phase == "falling"
    assert (degrees[-1], falling[-1].phase) == (0, "off")
    assert {one.right.reason for one in falling[first:]} == {"gaze too far"}
    assert all(one.right == one.left for one in falling)


def test_an_eye_that_would_turn_far_comes_more_slowly() -> None:
    near, far = (
        shown(*[both(OPEN)] * 2, at_once=False, shift_deg=deg)[1].left.strength
        for deg in (10.0, 60.0)
    )
    assert far == pytest.approx(STEP_S * MOST_DEG_PER_S / 60.0)
    assert far < near


def test_a_hindrance_within_the_ramp_is_followed_both_ways() -> None:
    face = Face(step_s=1 / 30)
    face.show(both(OPEN))
    sinking = [1 - n / 60 for n in range(61)]
    down = [face.show(both(rest(share))).right.strength for share in sinking]
    assert max(abs(a - b) for a, b in zip(down, sinking, strict=True)) <= BAND + 0.1
    assert down[-1] == pytest.approx(0.0, abs=1e-9)
    up = [face.show(both(rest(share))).right.strength for share in reversed(sinking)]
    late = [b - a for a, b in zip(up, reversed(sinking), strict=True) if a > 0]
    assert max(late) <= BACK_AT + 0.15
    assert face.frames_until(both(OPEN), lambda one: one.right == FREE) <= 2 + 30 * BACK_S


@pytest.mark.parametrize("bad", [rest(0.0), COVERED, FAR, EyeGate(FREE, lids=Gate(0.3, "closed"))])
@pytest.mark.parametrize("rate", [25.0, 30.0, 60.0])
def test_one_bad_measure_changes_nothing(bad: EyeGate, rate: float) -> None:
    frames = [both(OPEN)] * 3 + [(bad, OPEN), both(OPEN), (OPEN, bad), both(OPEN)] * 4
    assert {one.strengths for one in shown(*frames, step_s=1 / rate)} == {(1.0, 1.0)}


@pytest.mark.parametrize("bad", [rest(0.0), COVERED, FAR])
@pytest.mark.parametrize("rate", [25.0, 30.0, 60.0])
def test_one_good_measure_changes_nothing(bad: EyeGate, rate: float) -> None:
    frames = [(bad, OPEN)] * 3 + [both(OPEN), *[(bad, OPEN)] * 3] * 4
    (first, *others) = shown(*frames, step_s=1 / rate)
    assert first.right.strength == 0.0
    assert {one.strengths for one in others} == {first.strengths}


@pytest.mark.parametrize("low", [0.01, 0.3, 0.6, 0.76])
def test_a_measure_that_goes_slowly_to_and_fro_by_less_than_the_band_is_not_followed(
    low: float,
) -> None:
    face = Face(step_s=1 / 30)
    high = min(1.0, low + 0.99 * BAND)
    found = [face.show(both(rest(high if n // 15 % 2 else low))).right.strength for n in range(300)]
    assert len(set(found[60:])) == 1


def test_a_hindrance_that_leaves_slowly_is_followed_without_steps() -> None:
    face = Face(step_s=1 / 30)
    face.show(both(SMALL))
    leaving = [n / 90 for n in range(91)]
    found = [face.show(both(rest(share))).right.strength for share in leaving]
    late = [share - one for share, one in zip(leaving, found, strict=True) if share > BACK_AT + 0.2]
    assert 0.0 <= max(late) < 0.02


def test_a_blink_keeps_the_goal() -> None:
    face = Face()
    face.show(both(rest(0.4)))
    face.show(both(CLOSED))
    frames = [face.show(both(OPEN)).goal for _ in range(round(BACK_S / STEP_S) + 2)]
    assert frames[0] == 0.4
    assert frames[-1] == 1.0


def test_a_hindrance_that_comes_in_a_blink_needs_no_time() -> None:
    face = Face()
    face.show(both(OPEN))
    face.show(both(CLOSED))
    assert {(one.strengths, one.phase) for one in [face.show(both(SMALL)) for _ in range(9)]} == {
        ((0.0, 0.0), "off")
    }


# Which eyes take part


@pytest.mark.parametrize("hidden", [COVERED, FAR])
def test_a_covered_eye_eases_out_and_back_and_the_other_one_stays(hidden: EyeGate) -> None:
    face = Face(step_s=1 / 60)
    face.show(both(OPEN))
    leaving = [face.show((hidden, OPEN)) for _ in range(60)]
    coming = [face.show(both(OPEN)) for _ in range(60)]
    assert {one.left for one in leaving + coming} == {FREE}
    assert (leaving[0].eyes, leaving[-1].eyes, coming[-1].eyes) == ("both", "left", "both")
    steps = [1.0, *(one.right.strength for one in leaving + coming)]
    moves = [after - before for before, after in pairwise(steps)]
    assert min(moves) >= -MOST_DEG_PER_S / 60 / 10.0 - 1e-9
    assert max(moves) <= RISE_PER_S / 60 + 1e-9
    assert (leaving[-1].right, coming[-1].right) == (Gate(0.0, hidden.seen.reason), FREE)


def test_a_hand_that_blurs_an_eye_too_does_not_take_the_other_one_along() -> None:
    hand = EyeGate(Gate(0.0, "not clear"), seen=Gate(0.0, "covered"))
    frames = shown(both(OPEN), *[(OPEN, hand)] * 40, step_s=1 / 60)
    assert {one.right for one in frames} == {FREE}
    assert frames[-1].left == Gate(0.0, "covered")


def test_a_hidden_eye_that_closes_has_nothing_at_once_and_the_other_one_stays() -> None:
    face = Face(step_s=1 / 60)
    face.show(both(OPEN))
    face.frames_until((COVERED, OPEN), lambda one: one.right.strength < 1.0)
    one = face.show((EyeGate(FREE, COVERED.seen, CLOSED.lids), OPEN))
    assert (one.right, one.left, one.phase) == (Gate(0.0, "covered"), FREE, "on")


@pytest.mark.parametrize("rate", RATES)
def test_durations_hold_at_any_rate(rate: float) -> None:
    """A frame counts for the time since the one before."""

    def after(gates: Pair, reached: Callable[[Shown], bool], *, duration_s: float) -> None:
        number = face.frames_until(gates, reached)
        assert duration_s - 1e-3 <= number / rate <= duration_s + 1 / rate + 1e-3 or number == 1

    face = Face(step_s=1 / rate)
    face.show(both(OPEN))
    after((COVERED, OPEN), lambda one: one.eyes == "left", duration_s=LEAVE_S)
    after(both(OPEN), lambda one: one.eyes == "both", duration_s=BACK_S)
    face.frames_until(both(OPEN), lambda one: one.strengths == (1.0, 1.0))
    after(both(SMALL), lambda one: one.goal == 0, duration_s=LEAVE_S)
    face.frames_until(both(SMALL), lambda one: one.phase == "off")
    after(both(OPEN), lambda one: one.goal == 1, duration_s=BACK_S)
    face.frames_until(both(OPEN), lambda one: one.phase == "on")
    assert face.show(both(CLOSED)).phase == "blink"
    after(both(OPEN), lambda one: one.phase != "blink", duration_s=REOPEN_S)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_at_a_low_rate_every_frame_has_its_own_verdict(rate: float) -> None:
    frames = [both(OPEN), (COVERED, OPEN), both(OPEN), both(CLOSED), both(OPEN), both(SMALL)]
    found = [one.strengths for one in shown(*frames, both(OPEN), step_s=1 / rate)]
    assert found == [(1, 1), (0, 1), (1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]


def test_frames_of_one_time_change_nothing_but_for_closed_lids() -> None:
    face = Face(step_s=0.0)
    face.show(both(OPEN))
    for gates in (both(SMALL), (COVERED, OPEN), both(rest(0.4))) * 5:
        assert face.show(gates).strengths == (1.0, 1.0)
    assert face.show((CLOSED, OPEN)).strengths == (0.0, 0.0)

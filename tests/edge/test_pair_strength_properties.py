"""What holds of the strengths of a pair for any measures and any times."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.pipeline.gating import CLOSED_AT, EyeGate, gate_of
from mggr_edge.pipeline.pair_strength import BACK_AT, BAND, MOST_DEG_PER_S, RISE_PER_S
from pair_frames import FREE, OPEN, Face, Shown, both

SHARES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
steps = st.one_of(st.sampled_from([0.0, 1e-9, 1 / 240, 1 / 30, 0.1, 10.0]), st.floats(0, 1))


def gates_of(shares: st.SearchStrategy[float], *, seen: st.SearchStrategy[float]):
    return st.builds(
        lambda a, b, c: EyeGate(
            gate_of(a, "head turned"), gate_of(b, "covered"), gate_of(c, "closed")
        ),
        shares,
        seen,
        shares,
    )


ANY = st.lists(
    st.tuples(
        gates_of(SHARES, seen=SHARES),
        gates_of(SHARES, seen=SHARES),
        SHARES,
        st.floats(0, 90),
        steps,
    ),
    min_size=1,
    max_size=40,
)


def play(frames: Iterable[tuple], *, at_once: bool) -> list[tuple[Shown, tuple]]:
    face = Face(at_once=at_once)
    return [
        (
            face.show(
                frame[:2],
                shift=gate_of(frame[2], "gaze too far"),
                shift_deg=frame[3],
                step_s=frame[4],
            ),
            frame,
        )
        for frame in frames
    ]


@given(ANY, st.booleans())
def test_strengths_are_shares_and_reasons_stand_for_less(frames: list, at_once: bool) -> None:
    for one, _ in play(frames, at_once=at_once):
        for gate in (one.right, one.left):
            assert 0.0 <= gate.strength <= 1.0
            assert (gate.reason is None) == (gate.strength == 1.0)
        assert (one.phase == "off") <= (max(one.strengths) == 0.0)
        assert (one.phase == "blink") <= (max(one.strengths) == 0.0)


@given(ANY, st.booleans())
def test_no_frame_turns_an_eye_faster_than_the_limits(frames: list, at_once: bool) -> None:
    played = play(frames, at_once=at_once)
    for (before, _), (after, frame) in pairwise(played):
        gates, shift_deg, step_s = frame[:2], frame[3], frame[4]
        for was, now, gate in zip(before.strengths, after.strengths, gates, strict=True):
            assert now - was <= step_s * RISE_PER_S + 1e-9
            assert shift_deg * (now - was) <= step_s * MOST_DEG_PER_S + 1e-6
            if after.phase != "blink" and gate.lids.strength > CLOSED_AT:
                assert shift_deg * (was - now) <= step_s * MOST_DEG_PER_S + 1e-6


@given(ANY, st.booleans())
def test_a_closed_eye_that_takes_part_leaves_both_at_nothing(frames: list, at_once: bool) -> None:
    for one, (right, left, *_) in play(frames, at_once=at_once):
        takes_part = one.eyes in ("both", "right"), one.eyes in ("both", "left")
        for gate, strength, is_in in zip((right, left), one.strengths, takes_part, strict=True):
            if gate.lids.strength <= CLOSED_AT:
                assert strength == 0.0
                assert not is_in or one.strengths == (0.0, 0.0)


@given(
    st.lists(
        st.tuples(
            gates_of(SHARES, seen=st.floats(0.01, 1)),
            gates_of(SHARES, seen=st.floats(0.01, 1)),
            SHARES,
            st.floats(0, 90),
            steps,
        ),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
)
def test_eyes_that_are_not_hidden_have_equal_strengths(frames: list, at_once: bool) -> None:
    first, *others = frames
    seen = (EyeGate(gate.rest, FREE, gate.lids) for gate in first[:2])
    for one, _ in play([(*seen, *first[2:]), *others], at_once=at_once):
        assert one.eyes == "both"
        assert one.right == one.left


@given(ANY, st.booleans())
def test_strengths_of_eyes_that_take_part_come_no_further_apart(
    frames: list, at_once: bool
) -> None:
    played = [one for one, _ in play(frames, at_once=at_once)]
    for before, after in pairwise(played):
        if before.eyes == after.eyes == "both":
            apart = [abs(one.strengths[0] - one.strengths[1]) for one in (before, after)]
            assert apart[1] <= apart[0] + 1e-12


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 0.999), steps), min_size=2, max_size=60),
    st.sampled_from(["rest", "lids", "shift"]),
    st.booleans(),
)
def test_a_measure_that_hovers_moves_no_strength_to_and_fro(
    least: float, noise: list[tuple[float, float]], which: str, at_once: bool
) -> None:
    face, found = Face(at_once=at_once), []
    for share, step_s in noise:
        value = min(1.0, max(1e-6, least) + BAND * share)
        held = gate_of(value, "closed" if which == "lids" else "head turned")
        gate = EyeGate(held if which == "rest" else FREE, lids=held if which == "lids" else FREE)
        shift = held if which == "shift" else FREE
        found.append(face.show(both(gate), shift=shift, step_s=step_s).right.strength)
    moves = [b - a for a, b in pairwise(found) if abs(b - a) > 1e-12]
    turns = sum(a * b < 0 for a, b in pairwise(moves))
    assert turns <= 1


@given(st.lists(st.tuples(st.floats(0, 0.999), steps), min_size=2, max_size=60), st.floats(0, 1))
def test_an_occlusion_that_hovers_hides_no_eye_to_and_fro(
    noise: list[tuple[float, float]], least: float
) -> None:
    face = Face()
    eyes = []
    for share, step_s in noise:
        seen = gate_of(min(1.0, least + share * BACK_AT), "covered")
        eyes.append(face.show((EyeGate(FREE, seen), OPEN), step_s=step_s).eyes)
    assert sum(a != b for a, b in pairwise(eyes)) <= 1


TABLE = {
    ("rising", "on"),
    ("rising", "falling"),
    ("rising", "blink"),
    ("on", "rising"),
    ("on", "falling"),
    ("on", "blink"),
    ("falling", "on"),
    ("falling", "off"),
    ("falling", "rising"),
    ("falling", "blink"),
    ("blink", "rising"),
    ("blink", "off"),
    ("off", "rising"),
}


@given(
    st.lists(
        st.tuples(
            gates_of(st.sampled_from([0.0, 0.3, 0.6, 1.0]), seen=st.sampled_from([0.0, 1.0])),
            gates_of(st.sampled_from([0.6, 1.0]), seen=st.sampled_from([1.0])),
            st.sampled_from([1, 5, 20, 60, 150]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_states_follow_the_table(scenes: list, at_once: bool) -> None:
    face = Face(at_once=at_once, step_s=1 / 240)
    phases = [
        face.show((right, left)).phase for right, left, frames in scenes for _ in range(frames)
    ]
    changes = {(a, b) for a, b in pairwise(phases) if a != b}
    # A strength within one frame's reach of 0 or of its goal arrives without a frame in between.
    assert changes <= TABLE | {("rising", "off"), ("blink", "on")}

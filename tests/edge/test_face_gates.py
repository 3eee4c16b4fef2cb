"""Measures of both eyes of a face: which eye is the far one, and where its state comes from."""

from __future__ import annotations

import numpy as np
import pytest

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.network_io import EyeState
from mggr_edge.pipeline.gating import EyeGate, Gate, Limits, geometry_gates, with_states
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.iris import Eye

LIMITS = Limits()
FREE = Gate(1.0, None)
NARROW = Gate(0.0, "head turned")


def eye(side: Side, *, width: float = 40.0, height: float = 14.0) -> Eye:
    x = np.concatenate([np.linspace(-1, 1, 9), np.linspace(1, -1, 9)[1:-1]]) * width / 2
    y = np.array([0, *[height / 2] * 7, 0, *[-height / 2] * 7])
    outline = np.stack([x, y], axis=1).astype(np.float32)
    return Eye(side, outline, (0.0, 0.0), 6.0)


def face(right: Eye, left: Eye, *, yaw_deg: float = 0.0, confidence: float = 1.0) -> Face:
    return Face(np.zeros((468, 3), np.float32), confidence, Gaze(0, yaw_deg), (right, left))


def gates(seen: Face, *, clarities: tuple[float, float] = (0.3, 0.3)) -> tuple[EyeGate, EyeGate]:
    heads = (seen.head_pose,) * 2
    return geometry_gates(seen, heads=heads, clarities=clarities, limits=LIMITS)


def test_a_frontal_face_is_free() -> None:
    assert gates(face(eye("right"), eye("left"))) == (EyeGate(FREE),) * 2


@pytest.mark.parametrize(("yaw_deg", "far"), [(-25.0, "right"), (25.0, "left")])
def test_the_far_eye_is_on_the_side_to_which_the_head_turns(yaw_deg: float, far: Side) -> None:
    widths = {"right": 40.0, "left": 40.0, far: 16.0}
    turned = face(
        eye("right", width=widths["right"]), eye("left", width=widths["left"]), yaw_deg=yaw_deg
    )
    found = dict(zip(("right", "left"), gates(turned), strict=True))
    assert found.pop(far) == EyeGate(FREE, seen=NARROW)
    assert set(found.values()) == {EyeGate(FREE)}


def test_a_near_eye_that_is_narrow_is_an_error_of_its_landmarks() -> None:
    right, left = gates(face(eye("right", width=16.0), eye("left"), yaw_deg=25.0))
    assert (right.rest, right.seen) == (Gate(0.0, "not clear"), FREE)
    assert left == EyeGate(FREE)


def test_each_eye_has_its_own_sharpness_and_both_have_the_meshs_confidence() -> None:
    right, left = gates(face(eye("right"), eye("left")), clarities=(0.0, 0.3))
    assert (right.rest, left.rest) == (Gate(0.0, "not clear"), FREE)
    doubtful = gates(face(eye("right"), eye("left"), confidence=0.5))
    assert [gate.rest for gate in doubtful] == [Gate(0.0, "not clear")] * 2


def test_eyes_of_no_width_are_too_small() -> None:
    nothing = gates(face(eye("right", width=0.0), eye("left", width=0.0)))
    assert [gate.rest for gate in nothing] == [Gate(0.0, "too small")] * 2


def test_the_state_is_the_estimators_and_without_one_the_landmarks() -> None:
    shut = face(eye("right", height=1.0), eye("left"))
    free = (EyeGate(FREE), EyeGate(FREE))
    closed = Gate(0.0, "closed")
    by_landmarks = with_states(free, shut, (None, None), limits=LIMITS)
    assert [gate.lids for gate in by_landmarks] == [closed, FREE]
    states = (EyeState(0.3, 0.8, 0.9), EyeState(0.0, 0.0, 0.0))
    by_network = with_states(free, shut, states, limits=LIMITS)
    assert [gate.lids for gate in by_network] == [FREE, closed]
    assert [gate.seen for gate in by_network] == [Gate(0.0, "covered"), FREE]

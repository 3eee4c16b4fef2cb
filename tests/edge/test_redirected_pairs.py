"""Both eyes of a face in frames: closed, covered, and when the estimator is run."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bump_network import STRAIGHT, BumpNetwork
from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.network_io import EyeState
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.gating import Limits
from mggr_edge.pipeline.redirector import Redirector

OPEN, CLOSED = EyeState(0.3, 0.8, 0.0), EyeState(0.02, 0.02, 0.0)
COVERED = EyeState(0.3, 0.8, 0.9)


@pytest.fixture
def bundle(runners: dict[str, Runner]) -> BumpNetwork:
    return BumpNetwork(runners, STRAIGHT)


def with_skin_over_right_eye(portrait: NDArray[np.uint8], outline: NDArray) -> NDArray[np.uint8]:
    covered = portrait.copy()
    centre = tuple(int(v) for v in outline.mean(axis=0))
    width = int(np.ptp(outline[:, 0]))
    skin = tuple(int(v) for v in portrait[centre[1] + width, centre[0]])
    cv2.ellipse(covered, centre, (width, width // 2), 20, 0, 360, skin, -1, cv2.LINE_AA)
    return covered


def test_an_eye_behind_something_is_left_alone_and_the_other_is_not(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    seen = redirector.process(portrait).faces[0].eyes[0]
    covered = with_skin_over_right_eye(portrait, seen.outline)
    bundle.state = {"right": COVERED, "left": OPEN}
    bundle.gaze = {"right": Gaze(0, -60), "left": Gaze(0, 0)}
    (face,) = redirector.process(covered).faces
    right, left = face.eyes
    assert (right.strength, right.reason) == (0.0, "covered")
    assert (left.strength, left.reason) == (1.0, None)
    assert [call[0] for call in bundle.calls[-1:]] == ["left"]
    # The gaze is that of the eye that can be seen.
    assert left.gaze_before is not None
    assert left.gaze_before.angle_to(Gaze(0, 0)) < 1e-3


def test_without_a_state_an_eye_behind_something_leaves_both_alone(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    seen = redirector.process(portrait).faces[0].eyes[0]
    covered = with_skin_over_right_eye(portrait, seen.outline)
    (face,) = redirector.process(covered).faces
    assert [eye.strength for eye in face.eyes] == [0.0, 0.0]
    # The landmarks of a covered eye may be those of a closed one.
    assert {eye.reason for eye in face.eyes} <= {"not clear", "closed"}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"right": CLOSED, "left": OPEN}, "closed"),
        ({"right": OPEN, "left": CLOSED}, "closed"),
        ({"right": OPEN, "left": EyeState(0.2, 0.1, 0.0)}, "closed"),
        ({"right": COVERED, "left": COVERED}, "covered"),
    ],
)
def test_the_estimators_state_decides_and_not_the_landmarks(
    runners: dict[str, Runner],
    portrait: NDArray[np.uint8],
    state: dict[Side, EyeState],
    reason: str,
) -> None:
    bundle = BumpNetwork(runners, STRAIGHT, state)
    result = Redirector(bundle, target=Gaze(0, 10)).process(portrait)
    assert [(e.strength, e.reason) for e in result.faces[0].eyes] == [(0.0, reason)] * 2
    assert not result.mask().any()
    assert bundle.estimated == [("right", "left")]


def test_in_a_video_eyes_that_are_covered_for_a_moment_stay_a_pair(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    states = [OPEN, COVERED, OPEN, OPEN, *[COVERED] * 12]
    found = []
    for number, right in enumerate(states):
        bundle.state = {"right": right, "left": OPEN}
        (face,) = redirector.process(portrait, time_s=number / 30).faces
        found.append(tuple(eye.strength for eye in face.eyes))
    assert found[:6] == [(1.0, 1.0)] * 6
    assert [left for _, left in found] == [1.0] * len(found)
    assert found[-1] == (0.0, 1.0)
    assert any(0.0 < right < 1.0 for right, _ in found)


def test_what_eases_out_is_redirected_from_the_last_gaze_that_was_seen(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    bundle.gaze = {"right": Gaze(0, -15), "left": Gaze(0, -15)}
    redirector = Redirector(bundle, target=Gaze(0, 10))
    found = []
    for number in range(16):
        hidden = COVERED if number > 2 else OPEN
        bundle.state = {"right": hidden, "left": hidden}
        result = redirector.process(portrait, time_s=number / 30)
        found.append((result.faces[0].eyes[0], bool(result.mask().any())))
    strengths = [eye.strength for eye, _ in found]
    steps = [before - after for before, after in pairwise(strengths)]
    assert max(steps) <= 100 / 30 / 24 + 1e-6
    assert strengths[-1] == 0.0
    assert all(changed == (eye.strength > 0) for eye, changed in found)
    assert all(eye.gaze_before is not None for eye, _ in found if eye.strength > 0)
    assert found[-1][0].gaze_before is None


def test_the_estimator_is_not_asked_where_no_eye_may_be_redirected(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    limits = Limits(width_px=(1000.0, 2000.0))
    result = Redirector(bundle, target=Gaze(0, 10), limits=limits).process(portrait)
    assert bundle.estimated == []
    for eye in result.faces[0].eyes:
        assert (eye.strength, eye.reason, eye.gaze_before) == (0.0, "too small", None)

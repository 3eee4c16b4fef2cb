"""The counts of naturalness catch what they are there for."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult
from mggr_edge.vision.iris import Eye
from mggr_tf.evaluation import naturalness
from mggr_tf.evaluation.naturalness import jitter, shows_both_eyes, watch

ASIDE = Gaze(0.0, 12.0)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    return cv2.resize(data.astronaut()[:280, 90:350], None, fx=3, fy=3)


def test_a_portrait_is_redirected_without_seams_and_fully(
    bundle: Bundle, portrait: NDArray[np.uint8]
) -> None:
    found = watch([(portrait, None)], bundle, target=ASIDE)
    assert (found.frames, found.eyes, found.near) == (1, 2, 2)
    assert (found.pairs, found.pairs_apart) == (1, 0.0)
    assert found.changed_outside == 0
    assert found.border_gradient is not None
    assert found.border_gradient < 1.15
    assert found.near_fully == 1.0
    assert found.lids == 0
    assert found.lids_kept is None


class Careless(Redirector):
    """Darkens what it redirects up to a hard edge, and a corner of the frame besides."""

    def process(self, frame, *, time_s=None):
        result = super().process(frame, time_s=time_s)
        spoilt = result.frame.copy()
        spoilt[result.mask()] //= 2
        spoilt[:2, :3] = 255 - spoilt[:2, :3]
        return replace(result, frame=spoilt)


def test_a_hard_edge_and_a_change_outside_are_caught(
    bundle: Bundle, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naturalness, "Redirector", Careless)
    found = watch([(portrait, None)], bundle, target=ASIDE)
    assert found.changed_outside == 6
    assert found.border_gradient is not None
    assert found.border_gradient > 1.5


class Squinting(Redirector):
    """Leaves the left eye at three quarters of the strength in every second frame."""

    def process(self, frame, *, time_s=None):
        result = super().process(frame, time_s=time_s)
        if time_s is not None and round(30 * time_s) % 2:
            return result
        (face,) = result.faces
        right, left = face.eyes
        weaker = replace(face, eyes=(right, replace(left, strength=0.75 * left.strength)))
        return replace(result, faces=(weaker,))


def test_a_pair_whose_strengths_differ_is_counted(
    bundle: Bundle, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naturalness, "Redirector", Squinting)
    found = watch([(portrait, n / 30) for n in range(4)], bundle, target=ASIDE)
    assert (found.pairs, found.pairs_apart) == (4, 0.5)
    assert found.as_json()["pairs_apart"] == 0.5


@pytest.mark.parametrize(
    ("yaw_deg", "width", "height", "expected"),
    [
        (0.0, 30.0, 8.0, True),
        (15.0, 30.0, 8.0, True),
        (-16.0, 30.0, 8.0, False),
        (0.0, 17.0, 8.0, False),
        (0.0, 51.0, 12.0, False),
        (0.0, 30.0, 5.0, False),
    ],
)
def test_a_pair_is_two_open_eyes_of_about_one_width_in_a_frontal_head(
    yaw_deg: float, width: float, height: float, expected: bool
) -> None:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)

    def eye(side: Side, width: float, height: float) -> Eye:
        outline = np.stack([width / 2 * np.cos(turn), height / 2 * np.sin(turn)], axis=1)
        return Eye(side, outline.astype(np.float32), (0.0, 0.0), 5.0)

    seen = [eye("right", width, height), eye("left", 30.0, 9.0)]
    nothing = (EyeResult("right", seen[0].outline, None, ASIDE, 0.0, "closed"),) * 2
    face = FaceResult(0, np.zeros((468, 3), np.float32), Gaze(0.0, yaw_deg), nothing)
    assert shows_both_eyes(face, seen) == expected


def test_the_judge_sees_before_and_after(bundle: Bundle, portrait: NDArray[np.uint8]) -> None:
    asked = []

    def judge(patches, sides, head_poses):
        assert len(head_poses) == 2
        asked.append([patch.mean() for patch in patches])
        assert {patch.shape for patch in patches} == {(64, 64, 3)}
        assert list(sides) == ["right", "left"]
        return [Gaze(0.0, 0.0) if len(asked) == 1 else Gaze(0.0, 9.0) for _ in patches]

    found = watch([(portrait, None)], bundle, target=ASIDE, judge=judge)
    # The judge speaks of the patches, which are hardly rotated.
    assert found.judge_before_deg == pytest.approx(12.0, abs=1e-3)
    assert found.judge_after_deg == pytest.approx(3.0, abs=0.5)
    assert asked[0] != asked[1]


def test_lids_that_are_down_have_to_stay_so() -> None:
    usual = [(0.40, 0.41)] * 9
    assert naturalness._lids_kept(np.array([*usual, (0.1, 0.13), (0.05, 0.2)])) == [True, False]
    assert naturalness._lids_kept(np.array(usual)) == []


def test_still_eyes_tremble_as_their_noise_makes_them(
    bundle: Bundle, portrait: NDArray[np.uint8]
) -> None:
    before, after = jitter(portrait, bundle, target=ASIDE, frames=12)
    assert 0 < before < 0.05
    assert after < 3 * before


class Trembling(Redirector):
    """Looks now here, now there."""

    def process(self, frame, *, time_s=None):
        assert time_s is not None
        self.target = Gaze(0.0, 12.0 if round(30 * time_s) % 2 else 4.0)
        return super().process(frame, time_s=time_s)


def test_eyes_that_look_to_and_fro_are_caught(
    bundle: Bundle, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naturalness, "Redirector", Trembling)
    before, after = jitter(portrait, bundle, target=ASIDE, frames=12)
    assert after > 2 * before


def test_where_nobody_is_nothing_is_counted(bundle: Bundle) -> None:
    nobody = np.full((120, 160, 3), 90, np.uint8)
    found = watch([(nobody, None)], bundle, target=ASIDE)
    assert (found.frames, found.eyes, found.border_gradient, found.near_fully) == (1, 0, None, None)
    assert (found.pairs, found.pairs_apart) == (0, None)
    with pytest.raises(ValueError, match="not the same in every frame"):
        jitter(nobody, bundle, target=ASIDE, frames=6)

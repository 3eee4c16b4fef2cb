"""The whole way of a frame, with real landmark models; only the trained networks are replaced."""

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bump_network import STRAIGHT, BumpNetwork
from mggr_edge.geometry.angles import Gaze, mean_gaze
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.gating import Limits
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """A public-domain portrait, enlarged: she faces the camera and looks into it."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    head = data.astronaut()[:280, 90:350]
    return cv2.resize(head, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def bundle(runners: dict[str, Runner]) -> BumpNetwork:
    return BumpNetwork(runners, STRAIGHT)


def iris_shift(redirector: Redirector, frame: NDArray[np.uint8], result: FrameResult) -> NDArray:
    """[2 eyes, 2] how far the irises moved in the picture, in widths of the eye."""
    (before,), (after,) = (redirector._finder.find(f) for f in (frame, result.frame))
    return np.array(
        [
            np.subtract(b.iris_centre, a.iris_centre) / a.width_px
            for a, b in zip(before.eyes, after.eyes, strict=True)
        ]
    )


def crop_rolls(redirector: Redirector, frame: NDArray[np.uint8]) -> list[float]:
    """How far the crops of the right and the left eye are rotated."""
    (face,) = redirector._finder.find(frame)
    return [eye.crop(redirector.bundle.contract.conventions).roll_deg for eye in face.eyes]


def blind_runners() -> dict[str, Runner]:
    """A detector that sees nothing; the other models must not be asked."""

    def detector(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        return {
            "reshaped_regressor_face_4": np.zeros((1, 2304, 16), np.float32),
            "reshaped_classifier_face_4": np.full((1, 2304, 1), -50, np.float32),
        }

    def unasked(inputs: Mapping[str, NDArray], /) -> dict[str, NDArray]:
        raise AssertionError("asked although there is no face")

    return {"face_detector": detector, "face_mesh": unasked, "iris": unasked}


def test_a_frame_without_faces_passes_through() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    result = Redirector(BumpNetwork(blind_runners(), STRAIGHT)).process(frame)
    assert result.faces == ()
    assert not result.mask().any()
    assert result.frame is not frame
    np.testing.assert_array_equal(result.frame, frame)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_what_is_no_frame_is_refused(frame: NDArray) -> None:
    with pytest.raises(ValueError, match=r"a frame is uint8 \[H, W, 3\] RGB, got "):
        Redirector(BumpNetwork(blind_runners(), STRAIGHT)).process(frame)


def test_outside_the_eyes_every_bit_stays_and_the_input_too(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    frame = portrait.copy()
    result = Redirector(bundle, target=Gaze(5, 15)).process(frame)
    np.testing.assert_array_equal(frame, portrait)
    mask = result.mask()
    np.testing.assert_array_equal(result.frame[~mask], frame[~mask])
    assert 0.002 < mask.mean() < 0.04
    assert (result.frame[mask] != frame[mask]).mean() > 0.3
    (face,) = result.faces
    assert [eye.side for eye in face.eyes] == ["right", "left"]
    assert all(eye.strength == 1.0 and eye.reason is None for eye in face.eyes)
    assert all(eye.gaze_target == Gaze(5, 15) for eye in face.eyes)


def test_half_the_strength_goes_half_the_way(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 15))
    whole = iris_shift(redirector, portrait, redirector.process(portrait))[:, 0]
    redirector.strength = 0.5
    result = redirector.process(portrait)
    half = iris_shift(redirector, portrait, result)[:, 0]
    assert (half > 0.01).all()
    assert half.mean() == pytest.approx(whole.mean() / 2, rel=0.25)
    assert [(eye.strength, eye.reason) for eye in result.faces[0].eyes] == [(0.5, None)] * 2


def test_without_strength_gazes_are_seen_and_every_bit_stays(
    runners: dict[str, Runner], portrait: NDArray[np.uint8]
) -> None:
    bundle = BumpNetwork(runners, {"right": Gaze(-4, 9), "left": Gaze(-4, 9)})
    redirector = Redirector(bundle, strength=0.0)
    result = redirector.process(portrait)
    np.testing.assert_array_equal(result.frame, portrait)
    rolls = crop_rolls(redirector, portrait)
    expected = mean_gaze([Gaze(-4, 9).rolled(-roll) for roll in rolls])
    for eye in result.faces[0].eyes:
        assert eye.gaze_before is not None
        assert eye.gaze_before.angle_to(expected) < 1e-3
        assert (eye.strength, eye.reason) == (0.0, "turned off")
    assert not bundle.calls


def test_eyes_that_look_at_the_target_keep_every_bit(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 2))
    result = redirector.process(portrait)
    np.testing.assert_array_equal(result.frame, portrait)
    assert [(eye.strength, eye.reason) for eye in result.faces[0].eyes] == [(0.0, "on target")] * 2
    assert not bundle.calls
    redirector.target = Gaze(0, 3.9)
    for eye in redirector.process(portrait).faces[0].eyes:
        assert 0.3 < eye.strength < 0.7
        assert eye.reason == "on target"


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_is_a_share(bundle: BumpNetwork, strength: float) -> None:
    with pytest.raises(ValueError, match=r"a strength lies in \[0, 1\]"):
        Redirector(bundle, strength=strength)


@pytest.mark.parametrize(
    ("target", "axis", "sign"),
    [(Gaze(0, 15), 0, 1), (Gaze(0, -15), 0, -1), (Gaze(8, 0), 1, -1), (Gaze(-8, 0), 1, 1)],
)
def test_both_irises_go_where_the_target_lies(
    bundle: BumpNetwork,
    portrait: NDArray[np.uint8],
    target: Gaze,
    axis: int,
    sign: int,
) -> None:
    redirector = Redirector(bundle, target=target)
    shift = iris_shift(redirector, portrait, redirector.process(portrait))
    assert (sign * shift[:, axis] > 0.01).all()


def test_a_gaze_that_is_there_already_leaves_every_bit(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    result = Redirector(bundle).process(portrait)
    np.testing.assert_array_equal(result.frame, portrait)


def test_both_eyes_share_the_mean_of_their_estimates(
    runners: dict[str, Runner], portrait: NDArray[np.uint8]
) -> None:
    bundle = BumpNetwork(runners, {"right": Gaze(2, 6), "left": Gaze(4, -2)})
    redirector = Redirector(bundle, target=Gaze(0, 10))
    result = redirector.process(portrait)
    rolls = crop_rolls(redirector, portrait)
    estimates = [bundle.gaze["right"].rolled(-rolls[0]), bundle.gaze["left"].rolled(-rolls[1])]
    for eye in result.faces[0].eyes:
        assert eye.gaze_before is not None
        assert eye.gaze_before.angle_to(mean_gaze(estimates)) < 1e-3
    for (side, source, target), roll, expected in zip(
        bundle.calls, rolls, ("right", "left"), strict=True
    ):
        assert side == expected
        assert source.angle_to(mean_gaze(estimates).rolled(roll)) < 1e-3
        assert target.angle_to(Gaze(0, 10).rolled(roll)) < 1e-3


def test_gated_eyes_are_left_alone_and_say_why(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    limits = Limits(openness=(0.9, 1.0))
    result = Redirector(bundle, target=Gaze(0, 15), limits=limits).process(portrait)
    np.testing.assert_array_equal(result.frame, portrait)
    assert bundle.calls == []
    for eye in result.faces[0].eyes:
        assert (eye.strength, eye.reason) == (0.0, "closed")
        assert eye.gaze_before is None
        assert eye.region is None


def test_eyes_that_are_blurred_away_are_left_alone(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    (sharp,) = redirector.process(portrait).faces
    width = float(np.ptp(sharp.eyes[0].outline[:, 0]))
    result = redirector.process(cv2.GaussianBlur(portrait, (0, 0), width / 4))
    assert [eye.reason for eye in result.faces[0].eyes] == ["not clear", "not clear"]
    assert not result.mask().any()


def test_a_target_too_far_is_refused_with_the_gaze_that_was_seen(
    runners: dict[str, Runner], portrait: NDArray[np.uint8]
) -> None:
    bundle = BumpNetwork(runners, {"right": Gaze(0, -40), "left": Gaze(0, -40)})
    result = Redirector(bundle, target=Gaze(0, 20)).process(portrait)
    for eye in result.faces[0].eyes:
        assert (eye.strength, eye.reason) == (0.0, "gaze too far")
        assert eye.gaze_before is not None
        assert eye.gaze_before.angle_to(Gaze(0, -40)) < 5  # the crops are hardly rotated


def test_the_target_may_be_set_between_frames(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    first = redirector.process(portrait, time_s=0.0)
    redirector.target = Gaze(0, -10)
    second = redirector.process(portrait, time_s=0.04)
    assert second.faces[0].eyes[0].gaze_target == Gaze(0, -10)
    assert (first.frame != second.frame).any()


def test_a_still_video_keeps_its_face_and_its_pixels(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    frames = [redirector.process(portrait, time_s=n / 25) for n in range(12)]
    assert {f.faces[0].identity for f in frames} == {0}
    changes = [np.abs(f.frame.astype(int) - frames[0].frame).max() for f in frames]
    # The mesh settles within a few frames, by a third of a pixel.
    assert max(changes) <= 4
    assert np.abs(frames[-1].frame.astype(int) - frames[-2].frame).max() <= 1


@pytest.mark.parametrize(
    "times",
    [
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.066, 0.066, 0.132, 0.132],
        [0.0, 0.033, 0.066, 0.05, 0.1],
        [0.0, 1e-9, 2e-9],
        [0.3, 0.2, 0.1, 0.0],
    ],
)
def test_times_that_repeat_or_go_back_a_little_belong_to_the_same_video(
    bundle: BumpNetwork, portrait: NDArray[np.uint8], times: list[float]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    for time_s in times:
        (face,) = redirector.process(portrait, time_s=time_s).faces
        assert face.identity == 0
        assert [eye.strength for eye in face.eyes] == [1.0, 1.0]
        assert all(np.isfinite(eye.outline).all() for eye in face.eyes)


def test_a_clock_that_stands_still_does_not_hold_outlines(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle)
    for shift in range(0, 40, 4):
        moved = np.roll(portrait, shift, axis=1)
        (face,) = redirector.process(moved, time_s=0.0).faces
    (anew,) = Redirector(bundle).process(moved).faces
    width = np.ptp(anew.eyes[0].outline[:, 0])
    lag = np.abs(face.eyes[0].outline - anew.eyes[0].outline).max()
    assert lag < 0.08 * width


def test_a_time_far_earlier_begins_another_video(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    redirector.process(portrait, time_s=100.0)
    (face,) = redirector.process(np.roll(portrait, 9, axis=1), time_s=2.0).faces
    anew = Redirector(bundle, target=Gaze(0, 10))
    (alone,) = anew.process(np.roll(portrait, 9, axis=1), time_s=2.0).faces
    np.testing.assert_array_equal(face.eyes[0].outline, alone.eyes[0].outline)
    assert face.eyes[0].strength == 1.0
    assert face.identity == 1
    redirector.reset()
    assert redirector.process(portrait, time_s=0.0).faces[0].identity == 0
    with pytest.raises(ValueError, match="time_s is a finite number"):
        redirector.process(portrait, time_s=float("nan"))


@pytest.mark.parametrize("rate", [0.1, 1.0, 2.5, 30.0, 240.0])
def test_every_frame_of_a_still_face_is_redirected_at_any_rate(
    bundle: BumpNetwork, portrait: NDArray[np.uint8], rate: float
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    for number in range(5):
        result = redirector.process(portrait, time_s=number / rate)
        (face,) = result.faces
        assert (face.identity, [eye.strength for eye in face.eyes]) == (0, [1.0, 1.0])
        assert (result.frame != portrait).any()


def test_a_picture_on_its_own_is_not_steadied(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    moved = np.roll(portrait, 12, axis=1)
    redirector.process(portrait)
    after_another = redirector.process(moved)
    alone = Redirector(bundle, target=Gaze(0, 10)).process(moved)
    np.testing.assert_array_equal(after_another.frame, alone.frame)


def test_ten_faces_are_all_redirected_and_keep_their_numbers(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    one = cv2.resize(portrait[60:660, 60:660], (256, 256), interpolation=cv2.INTER_AREA)
    rows = [np.hstack([one[:, ::-1] if n % 2 else one for n in range(5)]) for _ in range(2)]
    crowd = np.ascontiguousarray(np.vstack(rows))
    redirector = Redirector(bundle, target=Gaze(0, 10), max_faces=10)
    numbers = []
    for count in range(3):
        result = redirector.process(crowd, time_s=count / 25)
        cells = [tuple(face.eyes[0].outline.mean(axis=0) // 256) for face in result.faces]
        assert len(set(cells)) == 10
        numbers.append(dict(zip(cells, (f.identity for f in result.faces), strict=True)))
        assert {eye.strength for face in result.faces for eye in face.eyes} == {1.0}
        assert np.array_equal(result.frame[~result.mask()], crowd[~result.mask()])
    assert numbers[0] == numbers[1] == numbers[2]


def test_no_more_faces_than_asked_for_and_the_same_ones(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    pair = np.ascontiguousarray(np.hstack([portrait, portrait[:, ::-1]]))
    redirector = Redirector(bundle, target=Gaze(0, 10), max_faces=1)
    seen = [redirector.process(pair, time_s=n / 25).faces for n in range(3)]
    assert [len(faces) for faces in seen] == [1, 1, 1]
    assert len({faces[0].landmarks[:, 0].mean() > portrait.shape[1] for faces in seen}) == 1


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 30), (120, 120, 120)])
def test_frames_of_one_colour_pass_through(bundle: BumpNetwork, colour: tuple[int, ...]) -> None:
    frame = np.full((240, 320, 3), colour, np.uint8)
    redirector = Redirector(bundle, target=Gaze(0, 10))
    for count in range(2):
        result = redirector.process(frame, time_s=count / 25)
        assert result.faces == ()
        assert np.array_equal(result.frame, frame)


def test_a_video_that_changes_its_size_finds_its_faces_anew(
    bundle: BumpNetwork, portrait: NDArray[np.uint8]
) -> None:
    redirector = Redirector(bundle, target=Gaze(0, 10))
    (before,) = redirector.process(portrait, time_s=0.0).faces
    half = cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    (after,) = redirector.process(half, time_s=0.04).faces
    np.testing.assert_allclose(
        2 * after.landmarks[:, :2], before.landmarks[:, :2], atol=0.1 * np.ptp(before.landmarks)
    )
    assert after.identity > before.identity

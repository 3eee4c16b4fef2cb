import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.gating import EyeGate, Gate
from mggr_edge.pipeline.pair_strength import RISE_PER_S
from mggr_edge.pipeline.tracks import MAX_GAP_S, FaceTracks, Track
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.iris import Eye
from mggr_edge.vision.one_euro import OneEuro, OneEuroFilter

SETTINGS = OneEuro(min_cutoff_hz=1.0, beta=0.5)
FREE = Gate(1.0, None)
OPEN = EyeGate(FREE)
CLOSED = EyeGate(FREE, lids=Gate(0.0, "closed"))


def decided(track: Track, eye: EyeGate = OPEN, *, shift_deg: float = 10.0) -> Gate:
    """What both eyes of a face get; they are alike."""
    right, left = track.decide((eye, eye), shift=FREE, shift_deg=shift_deg)
    assert right == left
    return right


def make_face(x: float, *, head: Gaze | None = None) -> Face:
    """A face whose eyes are 30 px wide and 60 px apart, their middle at (x, 100)."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([15 * np.cos(angle), 5 * np.sin(angle)], axis=-1)
    right, left = (
        Eye(side, (ring + (x + dx, 100)).astype(np.float32), (x + dx, 100.0), 5.0)
        for side, dx in (("right", -30), ("left", 30))
    )
    return Face(np.zeros((468, 3), np.float32), 1.0, head or Gaze(0, 0), (right, left))


@given(st.floats(-1000, 1000), st.integers(2, 20))
def test_a_constant_passes(value: float, frames: int) -> None:
    steady = OneEuroFilter(SETTINGS)
    for frame in range(frames):
        np.testing.assert_allclose(steady([value, -value], frame / 25), [value, -value])


def test_the_first_value_passes_unchanged() -> None:
    np.testing.assert_array_equal(OneEuroFilter(SETTINGS)([3.0, 7.0], 12.0), [3.0, 7.0])


def test_a_step_is_followed_as_the_formula_says() -> None:
    step_s, height = 0.04, 2.0
    steady = OneEuroFilter(SETTINGS)
    steady([0.0], 0.0)

    def weight(cutoff_hz: float) -> float:
        tau = 1 / (2 * np.pi * cutoff_hz)
        return 1 / (1 + tau / step_s)

    speed = weight(SETTINGS.speed_cutoff_hz) * height / step_s
    first = weight(SETTINGS.min_cutoff_hz + SETTINGS.beta * speed) * height
    assert steady([height], step_s)[0] == pytest.approx(first)
    # Speed is taken from the filtered value, as in the published code.
    speed += weight(SETTINGS.speed_cutoff_hz) * ((height - first) / step_s - speed)
    second = first + weight(SETTINGS.min_cutoff_hz + SETTINGS.beta * speed) * (height - first)
    assert steady([height], 2 * step_s)[0] == pytest.approx(second)


def test_beta_buys_less_lag_and_rest_stays_calm() -> None:
    def lag(beta: float) -> float:
        steady = OneEuroFilter(OneEuro(min_cutoff_hz=1.0, beta=beta))
        return max(10 * t - float(steady([10 * t], t)[0]) for t in np.arange(50) / 25)

    assert lag(1.0) < 0.3 * lag(0.0)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 200)
    steady = OneEuroFilter(SETTINGS)
    assert np.std([steady([n], t / 25) for t, n in enumerate(noise)][20:]) < 0.5 * np.std(noise)


def test_the_unit_scales_the_speed_only() -> None:
    small, large = OneEuroFilter(SETTINGS), OneEuroFilter(SETTINGS)
    for frame in range(10):
        value = np.array([frame**2, 3.0])
        np.testing.assert_allclose(
            10 * small(value, frame / 25), large(10 * value, frame / 25, unit=10)
        )


def test_time_does_not_go_back_and_a_repeated_one_is_the_limit_of_short_steps() -> None:
    steady, other = OneEuroFilter(SETTINGS), OneEuroFilter(SETTINGS)
    for one in (steady, other):
        one([0.0], 1.0)
        one([0.5], 1.1)
    assert steady([9.0], 1.1)[0] == pytest.approx(other([9.0], 1.1 + 1e-12)[0], abs=1e-6)
    with pytest.raises(ValueError, match="back"):
        steady([0.0], 1.05)


def test_faces_keep_their_identity_when_their_order_changes() -> None:
    tracks = FaceTracks()
    first = tracks.follow((make_face(100), make_face(400)), 0.0)
    second = tracks.follow((make_face(405), make_face(103)), 0.04)
    assert [t.identity for t in first] == [0, 1]
    assert [t.identity for t in second] == [1, 0]


def test_a_face_elsewhere_and_a_face_after_a_gap_are_new() -> None:
    tracks = FaceTracks()
    tracks.follow((make_face(100),), 0.0)
    (jumped,) = tracks.follow((make_face(300, head=Gaze(0, 9)),), 0.04)
    assert jumped.identity == 1
    assert jumped.face.head_pose == Gaze(0, 9)
    (back,) = tracks.follow((make_face(300),), 0.04 + MAX_GAP_S + 0.1)
    assert back.identity == 2


def test_the_first_frame_of_a_track_is_unchanged_and_the_next_is_steadied() -> None:
    tracks = FaceTracks()
    face, moved = make_face(100), make_face(102, head=Gaze(0, 10))
    (track,) = tracks.follow((face,), 0.0)
    np.testing.assert_array_equal(track.face.eyes[0].outline, face.eyes[0].outline)
    (track,) = tracks.follow((moved,), 0.04)
    outline = track.face.eyes[1].outline
    assert (face.eyes[1].outline[:, 0] < outline[:, 0]).all()
    assert (outline[:, 0] < moved.eyes[1].outline[:, 0]).all()
    assert 0 < track.face.head_pose.yaw_deg < 10


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 2.0, 2.5, 3.0, 15.0, 60.0, 240.0])
def test_a_face_keeps_number_and_strength_at_any_rate(rate: float) -> None:
    tracks = FaceTracks()
    for frame in range(12):
        (track,) = tracks.follow((make_face(100 + frame),), frame / rate)
        assert track.identity == 0
        assert decided(track, shift_deg=20) == FREE


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0, 15.0, 60.0, 240.0])
def test_strength_comes_within_the_same_seconds_at_any_rate(rate: float) -> None:
    """A face that comes later is there an eighth of a second, or one frame, afterwards."""
    tracks = FaceTracks()
    for frame in range(3):
        tracks.follow((make_face(100),), frame / rate)
    came_s = 3 / rate
    frame = 3
    while True:
        _, track = tracks.follow((make_face(100), make_face(400)), frame / rate)
        if decided(track).strength == 1.0:
            break
        frame += 1
    slow = frame / rate - came_s
    assert 1 / RISE_PER_S - 1 / rate - 1e-6 <= slow <= 1 / RISE_PER_S + 1 / rate + 1e-6
    if rate >= 15:
        assert slow >= 1 / RISE_PER_S - 1e-6


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0, 15.0, 60.0, 240.0])
def test_a_filters_time_constant_is_in_seconds_at_any_rate(rate: float) -> None:
    """A step is followed to 1 - 1/e within the time constant, or at the next frame."""
    settings = OneEuro(min_cutoff_hz=1.0, beta=0.0)
    steady = OneEuroFilter(settings)
    steady([0.0], 0.0)
    frame = 1
    while steady([1.0], frame / rate)[0] < 1 - np.exp(-1):
        frame += 1
    tau_s = 1 / (2 * np.pi * settings.min_cutoff_hz)
    assert tau_s - 1 / rate <= frame / rate <= 1.2 * tau_s + 1 / rate


def test_the_first_frame_after_a_gap_is_like_a_first_frame() -> None:
    tracks = FaceTracks()
    for frame in range(3):
        tracks.follow((make_face(100),), frame / 25)
    (back,) = tracks.follow((make_face(100),), 3.0)
    assert back.identity == 1
    assert decided(back) == FREE


def test_another_video_starts_anew_and_numbers_go_on() -> None:
    tracks = FaceTracks()
    tracks.follow((make_face(100),), 100.0)
    tracks.restart()
    (track,) = tracks.follow((make_face(100),), 0.0)
    assert track.identity == 1
    assert decided(track) == FREE


def test_tracks_refuse_time_that_goes_back() -> None:
    tracks = FaceTracks()
    tracks.follow((), 1.0)
    with pytest.raises(ValueError, match="time_s must not decrease"):
        tracks.follow((), 0.5)


def test_a_face_that_comes_later_eases_in_and_each_face_on_its_own() -> None:
    tracks = FaceTracks()
    (first,) = tracks.follow((make_face(100),), 0.0)
    assert not first.is_redirected
    assert decided(first) == FREE
    assert first.is_redirected
    first, later = tracks.follow((make_face(100), make_face(400)), 0.04)
    assert decided(first, CLOSED) == Gate(0.0, "closed")
    assert decided(later) == Gate(0.0, "easing in")
    assert not first.is_redirected
    first, later = tracks.follow((make_face(100), make_face(400)), 0.08)
    for track in (first, later):
        assert decided(track) == Gate(pytest.approx(0.04 * RISE_PER_S), "easing in")


def test_a_track_keeps_the_gaze_of_its_last_estimate() -> None:
    tracks = FaceTracks()
    (track,) = tracks.follow((make_face(100),), 0.0)
    assert track.gaze is None
    assert track.steady_gaze(Gaze(1, 2)) == track.gaze == Gaze(1, 2)
    (track,) = tracks.follow((make_face(100),), 0.04)
    assert track.gaze == Gaze(1, 2)

"""Quickstart's portrait and sweep, and the numbers that say whether eyes followed."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.angles import Gaze
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.pipeline.targets import CAMERA
from mggr_export.quickstart.observe import (
    REST_FROM_S,
    fit_line,
    following,
    gaze_of_iris_shift,
    target_at,
)
from mggr_export.quickstart.portrait import (
    FRAMES,
    RATE,
    SIZE_PX,
    photograph,
    portrait_frame,
    pose_at,
)
from mggr_export.quickstart.sheets import close_up

# The portrait.


def test_the_photograph_covers_every_frame():
    height, width = photograph().shape[:2]
    corners = np.array([[0, 0], [SIZE_PX - 1, 0], [0, SIZE_PX - 1], [SIZE_PX - 1, SIZE_PX - 1]])
    for number in range(FRAMES):
        photo_from_frame = cv2.invertAffineTransform(pose_at(number / RATE).frame_from_photo())
        seen = corners @ photo_from_frame[:, :2].T + photo_from_frame[:, 2]
        # Cubic interpolation reaches two pixels further.
        assert seen.min() >= 2
        assert (seen <= (width - 3, height - 3)).all()


def test_the_portrait_is_a_function_of_time_and_moves():
    photo = photograph()
    frame = portrait_frame(photo, 1.0)
    assert frame.shape == (SIZE_PX, SIZE_PX, 3)
    assert np.array_equal(frame, portrait_frame(photo, 1.0))
    assert not np.array_equal(frame, portrait_frame(photo, 1.0 + 1 / RATE))


def test_an_eye_spans_sixty_pixels_and_more():
    from mggr_edge.vision.face_finder import FaceFinder

    models = {
        name: TFLiteRunner(path.read_bytes()) for name, path in find_landmark_models().items()
    }
    finder = FaceFinder(
        detector=models["face_detector"], mesh=models["face_mesh"], iris=models["iris"]
    )
    for time_s in (0.0, 2.6, 5.2, 7.9):
        (face,) = finder.find(portrait_frame(photograph(), time_s))
        assert min(eye.width_px for eye in face.eyes) >= 60


def test_close_ups_hold_the_eyes_still():
    photo = photograph()
    first, later = (
        close_up(portrait_frame(photo, time_s), time_s).astype(float) for time_s in (0.3, 3.7)
    )
    unsteady = portrait_frame(photo, 0.3).astype(float) - portrait_frame(photo, 3.7)
    # Cubic enlargement at two zooms is not quite the same picture.
    assert np.abs(first - later).mean() < 3 < 15 < np.abs(unsteady).mean()


# The sweep.


def test_the_sweep_spans_both_axes_and_ends_on_the_camera():
    targets = [target_at(number / RATE) for number in range(FRAMES)]
    yaws, pitches = [t.yaw_deg for t in targets], [t.pitch_deg for t in targets]
    assert (min(yaws), max(yaws)) == (-15, 15)
    assert max(pitches) == pytest.approx(10)
    assert min(pitches) == pytest.approx(-10)
    assert targets[0] == Gaze(0, -15)
    assert all(target_at(t) == CAMERA for t in np.linspace(REST_FROM_S, 20, 30))


# The numbers.


@given(
    slope=st.floats(-3, 3), offset=st.floats(-20, 20), seed=st.integers(0, 99), n=st.integers(3, 40)
)
def test_a_line_is_found_again(slope, offset, seed, n):
    asked = np.random.default_rng(seed).uniform(-15, 15, n)
    line = fit_line(asked, slope * asked + offset)
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.offset_deg == pytest.approx(offset, abs=1e-5)
    if abs(slope) > 1e-3:
        assert line.correlation == pytest.approx(np.sign(slope), abs=1e-6)


def test_correlation_is_pearsons():
    line = fit_line([-1, 0, 1, 2], [3, -1, 0, 4])
    assert line.correlation == pytest.approx(np.corrcoef([-1, 0, 1, 2], [3, -1, 0, 4])[0, 1])


def test_a_gaze_that_never_moves_does_not_correlate():
    assert fit_line([-10, 0, 10], [2, 2, 2]).correlation == 0


@pytest.mark.parametrize(("asked", "seen"), [([1], [1]), ([1, 2], [1]), ([3, 3], [1, 2])])
def test_a_line_through_nothing_is_refused(asked, seen):
    with pytest.raises(ValueError, match=r"expected two lists|two different angles"):
        fit_line(asked, seen)


def test_following_keeps_the_axes_apart():
    asked = [Gaze(0, -10), Gaze(0, 10), Gaze(8, 0), Gaze(-8, 0)]
    summed = following(asked, [Gaze(g.pitch_deg / 2, g.yaw_deg) for g in asked])
    assert summed.yaw.slope == pytest.approx(1)
    assert summed.pitch.slope == pytest.approx(0.5)
    assert summed.mean_error_deg == pytest.approx((0 + 0 + 4 + 4) / 4)


@pytest.mark.parametrize("gaze", [Gaze(0, 15), Gaze(-10, 0), Gaze(8, -12), Gaze(0, 0)])
def test_an_iris_shift_is_read_as_the_gazemap_draws_it(gaze):
    def middle(look):
        iris = draw_gazemap(look.array())[..., 0]
        axis = np.arange(64)
        return np.array([iris.sum(0) @ axis, iris.sum(1) @ axis]) / iris.sum()

    read = gaze_of_iris_shift(middle(gaze) - middle(Gaze(0, 0)), Conventions())
    assert read.angle_to(gaze) < 0.2

"""Scores of the mean over both eyes, on answers whose numbers are known beforehand."""

import numpy as np
import pytest

from mggr_tf.data.schema import make_samples
from mggr_tf.evaluation.estimator_scores import aim_text, score_aim
from mggr_tf.evaluation.source_gaze import other_eyes

GAZES = [(p, y) for p in (-10, 0, 10) for y in (-15, 0, 15)]


def crowd(*, gazes=GAZES, heads=(0, 30), people=("a", "b")):
    rows = [(s, n, h, g) for n in people for h in heads for g in gazes for s in ("right", "left")]
    return make_samples(
        np.zeros((len(rows), 64, 64, 3), np.uint8),
        gaze_deg=np.float32([gaze for *_, gaze in rows]),
        head_deg=np.float32([(0, head) for _, _, head, _ in rows]),
        sides=[side for side, *_ in rows],
        subjects=[name for _, name, *_ in rows],
        source="none",
        licence="none",
    )


def in_patches(samples, picture_deg):
    """Angles in the picture as the (mirrored) patches have them."""
    return np.float32(picture_deg) * np.where(samples.mirrored[:, None], [1, -1], 1)


def test_bias_slopes_and_what_the_lens_is_read_as():
    samples = crowd()
    gaze_deg = in_patches(samples, samples.gaze_deg)  # the picture's
    seen = gaze_deg * [0.5, 0.8] + [3, -2]
    found = score_aim(np.float32(in_patches(samples, seen)), samples)
    assert found.photographs == len(samples) // 2 == 36
    assert found.bias_deg == pytest.approx((3, -2), abs=1e-4)
    assert found.slopes == pytest.approx((0.5, 0.8), abs=1e-5)
    assert found.ahead_deg == pytest.approx((3, -2), abs=1e-4)
    assert found.error_deg == pytest.approx(found.frontal_error_deg, abs=1e-4)
    assert "slope" in aim_text(found)


def test_opposite_errors_of_both_eyes_cancel():
    samples = crowd()
    off = np.where(samples.mirrored[:, None], [4, 0], [-4, 0])
    found = score_aim(np.float32(samples.gaze_deg + off), samples)
    assert found.error_deg == pytest.approx(0, abs=1e-4)


def test_frontal_heads_are_told_apart():
    samples = crowd()
    turned = np.abs(samples.head_deg[:, 1:]) > 20
    found = score_aim(np.float32(samples.gaze_deg + np.where(turned, [6, 0], [0, 0])), samples)
    assert found.frontal_error_deg == pytest.approx(0, abs=1e-4)
    assert found.error_deg == pytest.approx(3, abs=0.1)


def test_people_who_all_look_into_the_lens_have_no_slope():
    samples = crowd(gazes=[(0, 0)], heads=(0,))
    found = score_aim(np.float32(samples.gaze_deg + [1, 0]), samples)
    assert found.slopes == (None, None)
    assert found.ahead_deg == pytest.approx((1, 0), abs=1e-4)
    assert "slope" not in aim_text(found)


def test_without_frontal_heads_or_both_eyes():
    turned = crowd(heads=(30,))
    found = score_aim(turned.gaze_deg, turned)
    assert (found.frontal_error_deg, found.ahead_deg) == (None, None)
    assert "frontal" not in aim_text(found)
    one_eye = turned.of_subjects(["a"])
    alone = make_samples(
        one_eye.images,
        gaze_deg=one_eye.gaze_deg,
        head_deg=one_eye.head_deg,
        sides=["right"] * len(one_eye),
        subjects=list(one_eye.subject),
        source="none",
        licence="none",
    )
    assert score_aim(alone.gaze_deg, alone) is None


@pytest.mark.parametrize(("apart_deg", "are_pair"), [(0.3, True), (4.9, True), (6.0, False)])
def test_eyes_of_one_photograph_may_have_head_poses_of_their_own(apart_deg, are_pair):
    samples = crowd(gazes=[(0, 0)], heads=(10,), people=("a",))
    samples.head_deg[samples.mirrored] += np.float32([apart_deg, 0])
    assert (other_eyes(samples) >= 0).tolist() == [are_pair, are_pair]


def test_eyes_of_several_photographs_with_one_gaze_need_equal_head_poses():
    samples = crowd(gazes=[(0, 0)], heads=(10, 12), people=("a",))
    samples.head_deg[samples.mirrored] += np.float32([0.3, 0])
    assert (other_eyes(samples) == -1).all()

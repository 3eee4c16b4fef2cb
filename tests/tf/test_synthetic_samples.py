"""Drawn samples come in groups that make pairs, in any process."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mggr_edge.geometry.angles import Gaze
from mggr_tf.drawn_eyes import draw_samples, draw_subject, render_eye
from mggr_tf.drawn_eyes.population import draw_light
from mggr_tf.drawn_eyes.render import Crop
from mggr_tf.drawn_eyes.rendered import LANDMARKS, RenderedEye
from mggr_tf.drawn_eyes.samples import HEAD_ROLL_DEG, _draw_closure


def test_samples_come_in_groups() -> None:
    seen: list[tuple[int, int]] = []
    samples = draw_samples(
        subjects=3, per_group=4, heads=2, seed=5, progress=lambda *at: seen.append(at)
    )
    assert len(samples) == 3 * 2 * 2 * 4
    assert samples.images.shape == (48, 64, 64, 3)
    assert seen == [(16, 48), (32, 48), (48, 48)]
    keys = np.concatenate([samples.subject[:, None], samples.side[:, None], samples.head_deg], 1)
    groups, sizes = np.unique(keys, axis=0, return_counts=True)
    assert len(groups) == 12
    assert set(sizes) == {4}
    assert len(np.unique(samples.gaze_deg, axis=0)) == 48, "gazes are continuous"
    assert (np.abs(samples.gaze_deg) <= [15, 20]).all()
    assert (np.abs(samples.head_deg) <= [15, 30]).all()
    strips = np.sort(np.floor((samples.gaze_deg[:, 1] + 20) / 10).reshape(12, 4), axis=1)
    np.testing.assert_array_equal(strips, np.tile([0, 1, 2, 3], (12, 1)))


@pytest.mark.extended
def test_some_groups_hold_their_lids_half_closed() -> None:
    samples = draw_samples(subjects=24, per_group=2, heads=3, seed=2)
    closure = samples.closure.reshape(-1, 2)
    np.testing.assert_array_equal(closure[:, 0], closure[:, 1])
    share = (closure[:, 0] > 0).mean()
    assert 0.05 < share < 0.3
    assert closure.max() <= 0.65


def test_samples_of_one_group_differ_in_the_eye_most() -> None:
    samples = draw_samples(subjects=6, per_group=2, heads=1, seed=2)
    pairs = samples.images.reshape(12, 2, 64, 64, 3).astype(int)
    difference = np.abs(pairs[:, 0] - pairs[:, 1]).mean(axis=(0, -1))
    # Not by more: some wear glasses, whose crops err from picture to picture.
    assert difference[24:40, 16:48].mean() > 2.5 * difference[52:].mean()


def test_samples_of_a_person_do_not_depend_on_how_many_follow() -> None:
    few = draw_samples(subjects=1, per_group=2, heads=1, seed=7)
    more = draw_samples(subjects=2, per_group=2, heads=1, seed=7)
    np.testing.assert_array_equal(few.images, more.images[: len(few)])
    assert few.side.tolist() == [0, 0, 1, 1]


@pytest.mark.extended
def test_workers_change_nothing() -> None:
    alone = draw_samples(subjects=3, per_group=2, heads=1, seed=7)
    helped = draw_samples(subjects=3, per_group=2, heads=1, seed=7, workers=2)
    np.testing.assert_array_equal(alone.images, helped.images)
    np.testing.assert_array_equal(alone.gaze_deg, helped.gaze_deg)


def test_landmarks_are_the_patch_s_own() -> None:
    samples = draw_samples(subjects=3, per_group=2, heads=1, seed=7)
    person, own = draw_subject([7, 0]), np.random.default_rng([7, 0, 4, 0])
    assert _draw_closure(own) == samples.closure[0]
    eye = render_eye(
        dataclasses.replace(person, light=draw_light([7, 0, 3, 0])),
        gaze=Gaze.from_array(samples.gaze_deg[0]),
        head_pose=Gaze.from_array(samples.head_deg[0]),
        side="right",
        seed=[7, 0, 2, 0],
        roll_deg=float(HEAD_ROLL_DEG * own.standard_normal()),
        closure=float(samples.closure[0]),
        crop=Crop(Gaze.from_array(samples.gaze_deg[own.integers(2)]), seed=[7, 0, 5, 0]),
    )
    np.testing.assert_array_equal(eye.image, samples.images[0])
    points = dict(zip(LANDMARKS, samples.landmarks[0], strict=True))
    np.testing.assert_allclose(points["iris"], eye.iris.centre, atol=1e-4)
    np.testing.assert_allclose(points["eyeball"], eye.eyeball_centre, atol=1e-4)
    for name, extreme in (("outer corner", np.argmin), ("inner corner", np.argmax)):
        np.testing.assert_array_equal(points[name], eye.outline[extreme(eye.outline[:, 0])])
    between = (points["outer corner"] + points["inner corner"]) / 2
    for name in ("upper lid", "lower lid"):
        assert abs(points[name][0] - between[0]) < 8
        assert (eye.outline == points[name]).all(axis=1).any()
    assert points["upper lid"][1] < points["lower lid"][1]


def test_pictures_of_one_group_share_their_crop() -> None:
    """Material points stay where they are: what moves is the eye, not the patch."""
    samples = draw_samples(subjects=4, per_group=4, heads=2, seed=3)
    corners = [LANDMARKS.index(name) for name in ("outer corner", "inner corner")]
    points = samples.landmarks[:, corners].reshape(16, 4, 2, 2)
    apart = np.ptp(points, axis=1)
    # The inner corner slides sideways with the skin; the outer one follows the lids by a little.
    assert apart[:, 1, 1].max() < 0.6
    assert apart.max() < 3
    eyeball = samples.landmarks[:, LANDMARKS.index("eyeball")].reshape(16, 4, 2)
    assert np.ptp(eyeball, axis=1).max() < 1.3


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_picture_can_be_cut_as_another_one(side) -> None:
    person, head = draw_subject(4), Gaze(2.0, 8.0)
    up, down = Gaze(12.0, 3.0), Gaze(-12.0, -8.0)

    def drawn(gaze: Gaze, crop: Crop | None) -> RenderedEye:
        return render_eye(person, gaze=gaze, head_pose=head, side=side, seed=1, crop=crop)

    alone, cut = drawn(up, None), drawn(down, Crop(gaze=up, seed=1))
    # The eyeball turns about a point that is not quite its centre.
    np.testing.assert_allclose(alone.eyeball_centre, cut.eyeball_centre, atol=0.6)
    np.testing.assert_array_equal(drawn(up, Crop(gaze=up, seed=1)).outline, alone.outline)
    followed = drawn(down, None)
    assert followed.eyeball_centre[1] < cut.eyeball_centre[1] - 1, "a device's crop follows"


def test_a_mirrored_eye_has_mirrored_landmarks() -> None:
    turned, head = Gaze(5.0, 10.0), Gaze(0.0, 12.0)
    right = render_eye(draw_subject(4), gaze=turned, head_pose=head, side="right", seed=1)
    left = render_eye(
        draw_subject(4), gaze=turned.mirrored(), head_pose=head.mirrored(), side="left", seed=1
    )
    np.testing.assert_allclose(left.landmarks() * [-1, 1] + [63, 0], right.landmarks(), atol=1e-4)


def test_samples_refuse_senseless_counts() -> None:
    with pytest.raises(ValueError, match="per_group must be at least 1"):
        draw_samples(subjects=1, per_group=0, seed=0)

"""Occluders cover what they say, and eyes know how much of them is covered."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.config.stages import Augmentation
from mggr_tf.data.augment import augment_pair
from mggr_tf.data.closing_eyes import (
    EyeStates,
    behind_occluders,
    covered_share,
    filled,
    gaze_weight,
)
from mggr_tf.data.occluders import occlude
from mggr_tf.data.rows import Rows
from mggr_tf.drawn_eyes.rendered import USUAL_REGION, lid_region

PLAIN = {"brightness": 0, "contrast": 0, "colour": 0, "shift_px": 0}
SEED = tf.constant([3, 4])
GREY = tf.zeros([96, 64, 64, 3])


def filled_by_opencv(polygon, size=64, fine=16):
    mask = np.zeros((size * fine, size * fine), np.uint8)
    corners = np.round(((polygon + 0.5) * fine - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1, cv2.LINE_8, 4)
    return cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)


def test_polygons_are_filled_as_opencv_fills_them():
    rng = np.random.default_rng(1)
    usual = np.asarray(USUAL_REGION, np.float32)
    polygons = np.stack([usual + rng.normal(0, 1.5, (16, 2)) for _ in range(12)])
    polygons = lid_region(polygons).astype(np.float32)
    masks = filled(tf.constant(polygons), (64, 64)).numpy()
    for polygon, mask in zip(polygons, masks, strict=True):
        right = filled_by_opencv(polygon)
        assert np.abs(mask - right).mean() < 0.01
        assert mask.sum() == pytest.approx(right.sum(), rel=0.03)
    mirrored = filled(tf.constant(polygons * [-1, 1] + [63, 0], tf.float32), (64, 64))
    np.testing.assert_allclose(mirrored[:, :, ::-1], masks, atol=1e-4)


def test_unknown_polygons_are_empty_and_nothing_is_known_of_their_cover():
    nowhere = tf.fill([2, 16, 2], float("nan"))
    masks = filled(nowhere, (64, 64))
    assert float(tf.reduce_max(tf.abs(masks))) == 0
    assert np.isnan(covered_share(tf.ones([2, 64, 64]), masks)).all()


def test_what_is_covered_hides_the_picture_and_nothing_else_does():
    """Black and white pictures differ where they can be seen."""
    dark, light = (occlude(GREY + v, seed=SEED, share=0.6) for v in (-0.5, 0.5))
    np.testing.assert_array_equal(dark.cover, light.cover)
    cover = dark.cover.numpy()
    assert cover.min() >= 0
    assert cover.max() <= 1
    difference = np.abs(light.images - dark.images).max(-1)
    # Shadows darken, colours of hands follow the skin's; neither hides what is behind.
    assert difference[cover < 0.02].min() > 0.4
    kinds = cover.reshape(96, -1).mean(1)
    assert 0.05 < (kinds < 1e-3).mean() < 0.5
    assert (kinds > 0.5).any()


def test_pictures_without_occluders_stay():
    plain = tf.random.stateless_uniform([32, 64, 64, 3], [1, 2], -1, 1)
    images, cover = occlude(plain, seed=SEED, share=0.0)
    np.testing.assert_allclose(images, plain, atol=1e-6)
    assert float(tf.reduce_max(cover)) == 0


def test_occluders_are_functions_of_seed_and_row():
    whole = occlude(GREY, seed=SEED, share=0.6)
    again = occlude(GREY, seed=SEED, share=0.6)
    np.testing.assert_array_equal(whole.images, again.images)
    assert not np.array_equal(occlude(GREY, seed=SEED + 1, share=0.6).cover, whole.cover)
    chosen = tf.constant([90, 2, 7])
    some = occlude(GREY[:3], seed=SEED, share=0.6, rows=Rows(96, chosen))
    np.testing.assert_allclose(some.images, tf.gather(whole.images, chosen), atol=1e-5)


def test_occluders_of_many_kinds_are_drawn():
    images, cover = occlude(tf.zeros([512, 64, 64, 3]), seed=SEED, share=1.0)
    share = cover.numpy().reshape(512, -1).mean(1)
    assert np.percentile(share, 10) < 0.1
    assert np.percentile(share, 90) > 0.5
    inside = images.numpy()[cover.numpy() > 0.98]
    assert inside.std(axis=0).min() > 0.25, "of any brightness"
    assert (np.ptp(inside, axis=1) > 0.5).mean() > 0.05, "and of any colour"
    assert (inside.min(axis=1) > 0.6).mean() > 0.002, "glare"


@pytest.fixture
def states():
    usual = np.tile(np.asarray(USUAL_REGION, np.float32), (96, 2, 1, 1))
    values = np.tile(np.float32([0.3, 0.7, 0.0]), (96, 2, 1))
    values[5] = [np.nan, np.nan, 0.2]
    return EyeStates(tf.constant(values), tf.constant(usual))


def test_augmented_pairs_know_what_covers_each_eye(states):
    how = Augmentation(**{**PLAIN, "shift_px": 3}, occlusion=0.6, stretch=0.15)
    grey = tf.fill([96, 64, 64, 3], tf.constant(128, tf.uint8))
    both = tf.concat([states.regions[:, 0], states.regions[:, 1]], 1)
    changed = augment_pair(grey, grey, seed=SEED, how=how, state=states, landmarks=both)
    moved = tf.split(changed.landmarks, 2, axis=1)
    # What hides a grey pair hides it whatever its colour, but for hands of the skin's colour.
    hidden = (np.abs(changed.source.numpy() - 0.004) > 0.02).any(-1)
    for place, region in enumerate(moved):
        occlusion = changed.state[:, place, 2].numpy()
        mask = filled(region, (64, 64)).numpy()
        reached = (hidden * mask).sum((1, 2)) / mask.sum((1, 2))
        known = np.arange(96) != 5
        # Shadows and soft edges change a pixel and hide it partly at most.
        assert (occlusion[known] <= reached[known] + 0.05).all()
        assert np.corrcoef(reached[known], occlusion[known])[0, 1] > 0.8
        assert (occlusion[known] < 0.01).mean() > 0.1
        assert (occlusion[known] > 0.5).mean() > 0.05
        assert occlusion[5] >= 0.2, "what covered it before is still there"
    np.testing.assert_allclose(changed.state[..., 1], states.values[..., 1])


def test_each_eye_of_a_pair_is_covered_in_its_own_place():
    """One occluder, one eye in its usual place and one that lies beside it."""
    usual = tf.tile(tf.constant(USUAL_REGION, tf.float32)[None, None], [96, 2, 1, 1])
    apart = usual + tf.constant([0.0, 14.0])[:, None, None] * tf.constant([0.0, 1.0])
    state = EyeStates(tf.zeros([96, 2, 3]), apart)
    grey = tf.fill([96, 64, 64, 3], tf.constant(128, tf.uint8))
    how = Augmentation(**PLAIN, occlusion=0.6)
    occlusion = augment_pair(grey, grey, seed=SEED, how=how, state=state).state[..., 2].numpy()
    cover = occlude(GREY, seed=SEED + [0, 104], share=0.6).cover
    for place in (0, 1):
        right = covered_share(cover, filled(apart[:, place], (64, 64)))
        # Labels are measured on coarser pixels than `filled` draws here.
        np.testing.assert_allclose(occlusion[:, place], right, atol=0.02)
    assert np.abs(occlusion[:, 0] - occlusion[:, 1]).max() > 0.2


def test_a_stretched_eye_is_more_or_less_open(states):
    how = Augmentation(**PLAIN, stretch=0.15)
    grey = tf.fill([96, 64, 64, 3], tf.constant(128, tf.uint8))
    usual = states.regions[:, 0]
    changed = augment_pair(grey, grey, seed=SEED, how=how, state=states, landmarks=usual)
    points = changed.landmarks.numpy()
    width = np.linalg.norm(points[:, 8] - points[:, 0], axis=1)
    gap = np.linalg.norm(points[:, 4] - points[:, 12], axis=1)
    before = np.linalg.norm(usual[:, 4] - usual[:, 12], axis=1) / np.linalg.norm(
        usual[:, 8] - usual[:, 0], axis=1
    )
    ratio = gap / width / before
    assert ratio.min() < 0.85
    assert ratio.max() > 1.15
    expected = 0.3 * ratio
    expected[5] = np.nan
    np.testing.assert_allclose(changed.state[:, 0, 0], expected, rtol=0.02)


def test_gazes_of_hidden_eyes_do_not_count():
    values = tf.constant(
        [
            [0.3, 0.8, 0.0],
            [0.3, 0.8, 0.35],
            [0.05, 0.05, 0.0],
            [0.3, 0.8, 0.8],
            [0.1, 0.225, 0.0],
            [np.nan, np.nan, 0.0],
            [np.nan, np.nan, 0.9],
            [np.nan, np.nan, np.nan],
        ],
        tf.float32,
    )
    np.testing.assert_allclose(gaze_weight(values), [1, 1, 0, 0, 0.5, 1, 0, 1], atol=1e-6)


@pytest.mark.extended
def test_samples_behind_occluders_are_a_function_of_the_seed():
    from mggr_tf.data.closing_eyes import unseen_closing_eyes

    eyes = unseen_closing_eyes(3, 2)
    covered = behind_occluders(eyes, share=0.6, seed=1)
    again = behind_occluders(eyes, share=0.6, seed=1)
    np.testing.assert_array_equal(covered.images, again.images)
    np.testing.assert_array_equal(covered.state, again.state)
    assert not np.array_equal(covered.images, behind_occluders(eyes, share=0.6, seed=2).images)
    np.testing.assert_array_equal(covered.state[:, :2], eyes.state[:, :2])
    assert (covered.state[:, 2] > eyes.state[:, 2] + 0.3).any()
    assert (covered.state[:, 2] >= eyes.state[:, 2] - 1e-6).all()

"""What carries a network from drawn eyes to photographs changes pictures as it says."""

import numpy as np
import pytest

from mggr_edge.errors import ConfigError
from refusals import refusal

tf = pytest.importorskip("tensorflow")

from mggr_tf.config.files import load_config  # noqa: E402
from mggr_tf.config.stages import Augmentation  # noqa: E402
from mggr_tf.data.augment import augment_pair  # noqa: E402

PLAIN = {"brightness": 0, "contrast": 0, "colour": 0, "shift_px": 0}


def _dot(points, size=64):
    """[B, size, size, 3] uint8 pictures, black but for a soft white dot at each of [B, 2]."""
    y, x = np.mgrid[:size, :size]
    off = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    light = 255 * np.exp(-off / (2 * 1.5**2))
    return tf.constant(np.repeat(light[..., None], 3, -1).astype(np.uint8))


def _middles(pictures):
    """[B, 2] (x, y) where the light is."""
    light = pictures.numpy()[..., 0].astype(np.float64) + 1
    y, x = np.mgrid[: light.shape[1], : light.shape[2]]
    whole = light.sum((1, 2))
    return np.stack([(light * x).sum((1, 2)), (light * y).sum((1, 2))], -1) / whole[:, None]


def test_stretching_carries_landmarks_with_what_they_mark():
    places = np.random.default_rng(0).uniform(16, 48, (32, 2))
    dots = _dot(places)
    both = tf.constant(np.stack([places, places], 1).astype(np.float32))
    how = Augmentation(**PLAIN, stretch=0.15)
    moved = augment_pair(dots, dots, seed=tf.constant([1, 2]), how=how, landmarks=both)
    off = np.linalg.norm(moved.landmarks.numpy()[:, 0] - places, axis=-1)
    assert off.max() > 1.5
    for picture, points in zip(
        (moved.source, moved.target), np.moveaxis(moved.landmarks.numpy(), 1, 0), strict=True
    ):
        np.testing.assert_allclose(_middles(picture), points, atol=0.1)


def test_stretching_stays_within_its_limit_and_leaves_the_middle():
    corners = np.array([[0, 31.5], [63, 31.5], [31.5, 0], [31.5, 63], [31.5, 31.5]], np.float32)
    grey = tf.fill([64, 64, 64, 3], tf.constant(128, tf.uint8))
    landmarks = tf.tile(tf.constant(corners)[None], [64, 1, 1])
    how = Augmentation(**PLAIN, stretch=0.15)
    moved = augment_pair(grey, grey, seed=tf.constant([1, 2]), how=how, landmarks=landmarks)
    points = moved.landmarks.numpy()
    wide = np.log((points[:, 1, 0] - points[:, 0, 0]) / 63)
    tall = np.log((points[:, 3, 1] - points[:, 2, 1]) / 63)
    assert 0.08 < np.abs(wide).max() <= 0.1001
    assert 0.12 < np.abs(tall).max() <= 0.1501
    np.testing.assert_allclose(points[:, 4], 31.5, atol=1e-4)


def test_bars_cover_part_of_some_pictures_in_both_alike():
    grey = tf.fill([64, 64, 64, 3], tf.constant(128, tf.uint8))
    how = Augmentation(**PLAIN, occlusion=0.5)
    first, second, *_ = augment_pair(grey, grey, seed=tf.constant([1, 2]), how=how)
    np.testing.assert_array_equal(first, second)
    covered = (np.abs(first.numpy() - 0.004) > 0.02).any(-1).mean((1, 2))
    untouched = (covered < 0.001).mean()
    assert 0.1 < untouched < 0.45, "a quarter has neither bar; some bars lie outside"
    assert 0.3 < covered.max() <= 1


def test_colours_mix_and_what_was_dark_stays_darker():
    rng = np.random.default_rng(3)
    pictures = tf.constant(rng.integers(60, 200, (64, 64, 64, 3)).astype(np.uint8))
    how = Augmentation(**PLAIN, colour_mix=1.0)
    first, second, *_ = augment_pair(pictures, pictures, seed=tf.constant([1, 2]), how=how)
    np.testing.assert_array_equal(first, second)
    plain = pictures.numpy() / 127.5 - 1
    assert np.abs(first - plain).mean() > 0.05
    np.testing.assert_allclose(first.numpy().mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=0.03)
    light, lights = plain.mean(-1).reshape(64, -1), first.numpy().mean(-1).reshape(64, -1)
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(light, lights, strict=True)]
    assert min(alike) > 0


def test_a_share_of_the_pictures_keeps_its_colours():
    rng = np.random.default_rng(3)
    pictures = tf.constant(rng.integers(60, 200, (64, 64, 64, 3)).astype(np.uint8))
    how = Augmentation(**PLAIN, colour_mix=0.3)
    first, *_ = augment_pair(pictures, pictures, seed=tf.constant([1, 2]), how=how)
    same = np.abs(first - (pictures.numpy() / 127.5 - 1)).max((1, 2, 3)) < 1e-5
    assert 0.3 < same.mean() < 0.7, "0.7 squared"


@pytest.mark.parametrize("field", ["occlusion", "colour_mix", "surroundings", "low_resolution"])
def test_a_share_is_no_more_than_all(field):
    with pytest.raises(ValueError, match=f"{field} must be at most 1, got 1.5"):
        Augmentation(**{field: 1.5})


@pytest.mark.parametrize("field", ["stretch", "surroundings"])
def test_exact_flow_excludes_what_it_cannot_follow(field):
    with refusal(ConfigError, "invalid-value", at="stages.coarse") as caught:
        load_config("mggr-synthetic", changes=[f"stages.coarse.augmentation.{field}=0.1"])
    assert f"augmentation.{field} must be 0" in caught.value.fields["reason"]


def test_surroundings_change_and_the_eye_stays_in_both_pictures_alike():
    rng = np.random.default_rng(4)
    pictures = tf.constant(rng.integers(0, 256, (64, 64, 64, 3)).astype(np.uint8))
    how = Augmentation(**PLAIN, surroundings=1.0)
    first, second, *_ = augment_pair(pictures, pictures, seed=tf.constant([1, 2]), how=how)
    np.testing.assert_array_equal(first, second)
    plain = pictures.numpy() / 127.5 - 1
    changed = np.abs(first.numpy() - plain).max(-1) > 1e-4
    assert not changed[:, 29:35, 20:44].any(), "within every ellipse"
    assert changed[:, :4, :4].mean() > 0.95
    assert 0.3 < changed.mean() < 0.95
    assert np.abs(first).max() <= 1
    spread = first.numpy()[:, :8].std((1, 2)).mean(-1)
    assert (spread < 0.2).mean() == pytest.approx(0.5, abs=0.2), "half are blurred"


def test_surroundings_change_in_the_asked_share_of_pairs_and_landmarks_stay():
    rng = np.random.default_rng(5)
    pictures = tf.constant(rng.integers(0, 256, (64, 32, 32, 3)).astype(np.uint8))
    points = tf.constant(rng.uniform(0, 31, (64, 2, 2)).astype(np.float32))
    how = Augmentation(**PLAIN, surroundings=0.25)
    moved = augment_pair(pictures, pictures, seed=tf.constant([1, 2]), how=how, landmarks=points)
    changed = np.abs(moved.source.numpy() - (pictures.numpy() / 127.5 - 1)).max((1, 2, 3)) > 1e-4
    assert 0.1 < changed.mean() < 0.4
    np.testing.assert_array_equal(moved.landmarks, points)


def test_low_resolution_removes_details_in_the_asked_share_of_pairs():
    rng = np.random.default_rng(6)
    pictures = tf.constant(rng.integers(0, 256, (96, 64, 64, 3)).astype(np.uint8))
    how = Augmentation(**PLAIN, low_resolution=0.5)
    first, second, *_ = augment_pair(pictures, pictures, seed=tf.constant([1, 2]), how=how)
    np.testing.assert_array_equal(first, second)
    plain = pictures.numpy() / 127.5 - 1
    changed = np.abs(first.numpy() - plain).max((1, 2, 3)) > 1e-4
    assert 0.35 < changed.mean() < 0.65

    def detail(images):
        return np.abs(np.diff(images, axis=2)).mean((1, 2, 3))

    # The mean brightness stays. Independent pixels lose most of their contrast in area averages.
    np.testing.assert_allclose(first.numpy().mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=0.02)
    left = (detail(first.numpy()) / detail(plain))[changed]
    assert left.max() < 0.5
    assert len(np.unique(np.rint(left * 20))) >= 3, "several resolutions"

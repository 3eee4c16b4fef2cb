"""Random views: one for both pictures, a pure function of the seed, and seen through by a loss."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.config.sizes import BranchSize, ModelConfig
from mggr_tf.training.losses.adversary import LARGEST_ZOOM, MARGIN_PX, enlarging, random_view
from mggr_tf.training.losses.redirection import Comparison

rng = np.random.default_rng(0)
PICTURES = tf.constant(rng.uniform(-1, 1, (2, 24, 24, 3)), tf.float32)
NO_HEAD = {"head_pose": tf.zeros([2, 2])}


def view(number):
    return random_view(PICTURES, tf.constant([1, number], tf.int64)).numpy()


def plane(size):
    """A picture [1, size, size, 3] of its own coordinates: x, y and nothing."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return tf.constant(np.stack([x, y, 0 * x], -1)[None])


def steps_of(seen):
    """How far apart in the picture two neighbours of a view lie, by axis and channel [2, 3]."""
    inner = seen[0, 8:-8, 8:-8]
    return np.array([np.abs(np.diff(inner, axis=axis)).mean((0, 1)) for axis in (0, 1)])


def test_a_view_is_a_square_of_the_picture_enlarged_turned_mirrored_and_recoloured():
    picture, zooms, axes = plane(64), [], set()
    for number in range(40):
        seen = random_view(picture, tf.constant([1, number], tf.int64)).numpy()
        assert seen.shape == (1, 64 - MARGIN_PX, 64 - MARGIN_PX, 3)
        steps = steps_of(seen)
        # x runs along one axis, y along the other, both equally fast; one channel is empty.
        assert sorted((steps > 1e-3).sum(0)) == [0, 1, 1]
        assert sorted((steps > 1e-3).sum(1)) == [1, 1]
        across, down = steps[steps > 1e-3]
        np.testing.assert_allclose(across, down, rtol=1e-3)
        assert seen.min() >= -0.5
        assert seen.max() <= 63.5
        zooms.append(1 / across)
        axes.add(tuple(np.flatnonzero(steps[0] > 1e-3)))
    assert 1 - 1e-3 <= min(zooms) < 1.2
    assert 2.6 < max(zooms) <= LARGEST_ZOOM * 1.05
    assert axes == {(0,), (1,), (2,)}


def test_views_repeat_with_their_seed_and_differ_without():
    np.testing.assert_array_equal(view(5), view(5))
    assert len({view(number).tobytes() for number in range(12)}) > 10


def test_all_pictures_of_a_batch_are_seen_alike():
    twice = tf.concat([PICTURES, PICTURES], 0)
    seen = random_view(twice, tf.constant([1, 2], tf.int64)).numpy()
    np.testing.assert_array_equal(seen[:2], seen[2:])


def pixels():
    eye = tf.keras.Input((None, None, 3), name="eye")
    return tf.keras.Model(eye, {"level": tf.keras.layers.Activation("linear")(eye)})


def test_a_picture_and_its_copy_have_the_same_features():
    ours, real = Comparison(pixels())(PICTURES, PICTURES, NO_HEAD)
    np.testing.assert_array_equal(ours["level"], real["level"])


@pytest.mark.parametrize(("first", "count"), [(0, 56), (3, 20), (40, 24), (11, 53)])
def test_a_view_is_enlarged_as_tensorflow_enlarges(first, count):
    picture = tf.constant(rng.uniform(-1, 1, (1, 64, 64, 3)), tf.float32)
    matrix = enlarging(64, tf.constant(first), tf.constant(count), shown=56)
    found = tf.einsum("ih,jw,bhwc->bijc", matrix, matrix, picture)
    cut = picture[:, first : first + count, first : first + count]
    # TensorFlow rounds places to 1 / 1024 of a pixel.
    np.testing.assert_allclose(found, tf.image.resize(cut, (56, 56), "bicubic"), atol=3e-3)


def test_gradients_reach_the_picture_where_the_view_lies_and_never_the_target():
    look, seed = Comparison(pixels()), tf.constant([1, 3], tf.int64)
    target = tf.Variable(PICTURES)
    picture = tf.Variable(PICTURES + 0.5)
    with tf.GradientTape() as tape:
        ours, real = look(random_view(picture, seed), random_view(target, seed), NO_HEAD)
        loss = tf.reduce_sum(tf.square(ours["level"] - real["level"]))
    to_picture, to_target = tape.gradient(loss, [picture, target])
    rows, columns = np.nonzero(np.any(to_picture.numpy() != 0, axis=(0, 3)))
    side = rows.max() - rows.min() + 1
    assert columns.max() - columns.min() + 1 == side <= 24 - MARGIN_PX
    assert len(rows) == side**2
    assert to_target is None or not np.any(to_target)


def test_the_estimator_is_not_shown_views():
    branch = BranchSize((4, 6), 0, (4,))
    with pytest.raises(ValueError, match="random_views must be false"):
        ModelConfig(discriminator=(4,), coarse=branch, fine=branch, random_views=True)

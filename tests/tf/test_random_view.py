"""Random views: one for both pictures, a pure function of the seed, and seen through by a loss."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_tf.config import ModelConfig
from mggr_tf.losses.comparison import Comparison
from mggr_tf.losses.ensemble import MARGIN_PX, random_view
from mggr_tf.models.size import BranchSize

rng = np.random.default_rng(0)
PICTURES = tf.constant(rng.uniform(-1, 1, (2, 24, 24, 3)), tf.float32)
NO_HEAD = {"head_pose": tf.zeros([2, 2])}


def view(number):
    return random_view(PICTURES, tf.constant([1, number], tf.int64)).numpy()


def every_view(picture):
    """All views of one picture there can be, by numpy alone."""
    size = picture.shape[0] - MARGIN_PX
    for top in range(MARGIN_PX + 1):
        for left in range(MARGIN_PX + 1):
            cut = picture[top : top + size, left : left + size]
            for turned in (cut, cut.transpose(1, 0, 2)):
                for one in (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1]):
                    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
                        yield one[..., list(order)]


def test_a_view_is_a_part_of_the_picture_turned_mirrored_and_recoloured():
    for number in range(3):
        seen = view(number)
        assert seen.shape == (2, 24 - MARGIN_PX, 24 - MARGIN_PX, 3)
        assert any(np.array_equal(seen[0], other) for other in every_view(PICTURES[0].numpy()))


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


@pytest.mark.parametrize("random_views", [False, True])
def test_a_picture_and_its_copy_have_the_same_features(random_views):
    look = Comparison(pixels(), random_views=random_views)
    ours, real = look(PICTURES, PICTURES, NO_HEAD, tf.constant([1, 3], tf.int64))
    np.testing.assert_array_equal(ours["level"], real["level"])
    assert ours["level"].shape[1] == (24 - MARGIN_PX if random_views else 24)


def test_gradients_reach_the_picture_where_the_view_lies_and_never_the_target():
    look = Comparison(pixels(), random_views=True)
    target = tf.Variable(PICTURES)
    picture = tf.Variable(PICTURES + 0.5)
    with tf.GradientTape() as tape:
        ours, real = look(picture, target, NO_HEAD, tf.constant([1, 3], tf.int64))
        loss = tf.reduce_sum(tf.square(ours["level"] - real["level"]))
    to_picture, to_target = tape.gradient(loss, [picture, target])
    seen = (24 - MARGIN_PX) ** 2 * 3 * 2
    assert np.count_nonzero(to_picture) == seen
    assert to_target is None or not np.any(to_target)


def test_the_estimator_is_not_shown_views():
    branch = BranchSize((4, 6), 0, (4,))
    with pytest.raises(ValueError, match="knows upright eyes"):
        ModelConfig(discriminator=(4,), coarse=branch, fine=branch, random_views=True)

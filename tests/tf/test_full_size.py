"""The full-size recipe's first steps, with random weights where the user's own belong."""

import pytest
import tensorflow as tf

from mggr_tf.config.files import load_config
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.models.networks import Networks
from mggr_tf.training.step import RedirectionStep


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["coarse", "joint"])
def test_first_steps_lower_the_losses(stage, tmp_path, samples):
    weights = tmp_path / "vgg16.h5"
    tf.keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(weights)
    config = load_config("mggr-paper", changes=[f"stages.{stage}.batch=2"])
    settings = config.stage(stage)
    step = tf.function(
        RedirectionStep(
            Networks(config, vgg16=weights),
            stage,
            settings,
            moving_average=0.9,
            total=tf.Variable(1000, dtype=tf.int64),
            replicas=1,
        )
    )
    batches = pair_dataset(
        samples,
        shares=Shares(2),
        seed=1,
        steps=(0, 20),
        augmentation=settings.augmentation,
        conventions=config.conventions,
    )
    # The pair that differs most: there is something to learn.
    batch = max(batches, key=lambda b: float(tf.reduce_mean(tf.abs(b["eye"] - b["target"]))))
    seen = [step(batch) for _ in range(12)]
    name = "l1_coarse" if stage == "coarse" else "l1"
    assert float(seen[-1][name]) < float(seen[0][name])

"""TensorFlow, imported once with its own deprecations aside, and small data."""

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    # What TensorFlow 2.15's own imports complain about cannot be corrected here.
    warnings.simplefilter("ignore")
    import mggr_tf  # noqa: F401, I001  (selects Keras 2 before TensorFlow is imported)
    import tensorflow as tf  # noqa: F401

TINY = (
    "models.coarse.widths=[4, 6]",
    "models.coarse.decoder=[4]",
    "models.coarse.blocks=1",
    "models.fine.widths=[4, 6]",
    "models.fine.decoder=[4]",
    "models.fine.blocks=0",
    "models.discriminator=[4, 6]",
    "models.estimator=[4, 4, 6]",
    # Eyes that close take time to draw.
    "models.estimator_state=false",
    "stages.estimator.losses.state.weight=0",
    "models.judge=4",
    # The learned distance's AlexNet is no tiny network.
    "models.features=estimator",
    "models.features_precision=float32",
    "models.random_views=false",
    "stages.coarse.losses.lpips.weight=0",
    "stages.fine.losses.lpips.weight=0",
    "stages.fine.losses.efficientnet.weight=0",
    "stages.joint.losses.efficientnet.weight=0",
    "stages.joint.losses.lpips={name: perceptual, weight: 0.1}",
    "stages.estimator.batch=2",
    "stages.judge.batch=2",
    "stages.coarse.batch=2",
    "stages.fine.batch=2",
    "stages.joint.batch=2",
)


@pytest.fixture(scope="session")
def tiny_changes():
    """What makes a config tiny, as `--set` takes it."""
    return TINY


@pytest.fixture(scope="session")
def tiny_config():
    """mggr-edge with all its losses, and next to no capacity."""
    from mggr_tf.config.files import load_config

    return load_config("mggr-edge", changes=TINY)


@pytest.fixture(scope="session")
def samples():
    """Eyes of four discs: dark, and where the gaze points."""
    from mggr_edge.geometry.gaze_map import draw_gazemap
    from mggr_tf.data.schema import make_samples

    rng = np.random.default_rng(0)
    gaze = rng.uniform(-15, 15, (24, 2)).astype(np.float32)
    head = np.repeat(np.float32([[0, 0], [0, 15], [0, -15], [0, 30]]), 6, axis=0)
    maps = draw_gazemap(gaze)
    grey = 90 + 80 * maps[..., 1] - 120 * maps[..., 0]
    images = np.clip(grey[..., None] * [1.0, 0.9, 0.8], 0, 255).astype(np.uint8)
    return make_samples(
        images,
        gaze_deg=gaze,
        head_deg=head,
        sides=["right", "left"] * 12,
        subjects=[f"{i // 12:04d}" for i in range(24)],
        source="discs",
        licence="Apache-2.0",
    )

"""One pass over the pictures gives what pair by pair would."""

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import MissingPackageError
from mggr_tf.evaluation.network_metrics import REAL, compare_by, features_of, open_network_metrics
from mggr_tf.models import torch_weights as packaged_weights
from mggr_tf.models.stlpips import Lpips
from refusals import refusal

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small():
    """An Lpips of two slices that costs nothing: the picture, and its halves."""
    image = tf.keras.Input((None, None, 3))
    halved = tf.keras.layers.AveragePooling2D(2)(image)
    heads = {"fine": np.float32([1, 2, 3]), "coarse": np.float32([3, 2, 1])}
    return Lpips(tf.keras.Model(image, {"fine": image, "coarse": halved}), heads)


REAL_PICTURES = rng.uniform(0, 1, (35, 8, 8, 3)).astype(np.float32)  # one batch and a bit
PICTURES = {
    "ours": rng.uniform(0, 1, (35, 8, 8, 3)).astype(np.float32),
    "target": REAL_PICTURES,
}


def test_distances_are_those_of_each_pair(small):
    found = compare_by(small, PICTURES, REAL_PICTURES).distance
    signed = {name: 2 * value - 1 for name, value in {**PICTURES, REAL: REAL_PICTURES}.items()}
    alone = [
        float(small(a[None], b[None])[0]) for a, b in zip(signed["ours"], signed[REAL], strict=True)
    ]
    np.testing.assert_allclose(found["ours"], alone, rtol=1e-5)
    np.testing.assert_array_equal(found["target"], 0)


def test_pooled_features_are_a_tenth_of_the_last_slices_spatial_means(small):
    pooled = compare_by(small, PICTURES, REAL_PICTURES).pooled
    for name, pictures in {**PICTURES, REAL: REAL_PICTURES}.items():
        np.testing.assert_allclose(10 * pooled[name], (2 * pictures - 1).mean((1, 2)), atol=1e-6)


def test_features_keep_the_order_of_the_pairs():
    image = tf.keras.Input((None, None, 3))
    model = tf.keras.Model(image, tf.keras.layers.GlobalMaxPooling2D()(image))
    found = features_of(model, PICTURES, REAL_PICTURES)
    assert set(found) == {"ours", "target", REAL}
    for name, pictures in {**PICTURES, REAL: REAL_PICTURES}.items():
        np.testing.assert_allclose(found[name], 2 * pictures.max((1, 2)) - 1, atol=1e-6)


def test_without_the_wheel_only_quick_works(monkeypatch):
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    assert open_network_metrics(quick=True).st_lpips is None
    with refusal(MissingPackageError, "missing-package", package="stlpips_pytorch"):
        open_network_metrics()

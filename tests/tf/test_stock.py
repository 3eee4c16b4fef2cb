"""Stock LPIPS and Inception, with random weights in the files that users have."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from mggr_edge.errors import RunError
from mggr_tf.evaluation.network_metrics import open_network_metrics, read_inception, read_lpips
from refusals import refusal

spec = spec_from_file_location("torch_writer", Path(__file__).with_name("torch_writer.py"))
torch_writer = module_from_spec(spec)
spec.loader.exec_module(torch_writer)

rng = np.random.default_rng(0)
ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
VGG_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        ((wide, narrow, 3) for wide, narrow in zip(VGG_WIDTHS, (3, *VGG_WIDTHS), strict=False)),
        strict=True,
    )
)


def backbone(layers, draw=rng.standard_normal):
    """As torchvision names and shapes it, with a dense layer that LPIPS does not use."""
    state = {}
    for number, (wide, narrow, size) in layers.items():
        scale = 1 / np.sqrt(narrow * size**2)
        state[f"features.{number}.weight"] = scale * draw((wide, narrow, size, size))
        state[f"features.{number}.bias"] = 0.1 * draw(wide)
    return {**state, "classifier.1.weight": np.zeros((5, 4)), "classifier.1.bias": np.zeros(5)}


def linear(widths):
    """As the package lpips names and shapes them."""
    return {f"lin{i}.model.1.weight": rng.uniform(0, 1, (1, w, 1, 1)) for i, w in enumerate(widths)}


ALEX_LINEAR, VGG_LINEAR = (64, 192, 384, 256, 256), (64, 128, 256, 512, 512)


def write(tmp_path, name, arrays, form="legacy"):
    file = tmp_path / name
    file.write_bytes(torch_writer.saved(arrays, getattr(torch_writer, form)))
    return file


def direct_alex(state, picture):
    """AlexNet's slices by TensorFlow's own operations, channels first like the weights."""
    features = (picture - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    slices = []
    for number, padding in zip(ALEX, (2, 2, 1, 1, 1), strict=True):
        if number in (3, 6):
            features = tf.nn.max_pool2d(features, 3, 2, "VALID")
        kernel = state[f"features.{number}.weight"].transpose(2, 3, 1, 0)
        padded = np.pad(features, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        stride = 4 if number == 0 else 1
        features = tf.nn.conv2d(padded, kernel, stride, "VALID") + state[f"features.{number}.bias"]
        features = tf.nn.relu(features)
        slices.append(features.numpy())
    return slices


@pytest.mark.parametrize("form", ["legacy", "zipped"])
def test_alexnet_lpips_is_its_formula(form, tmp_path):
    state, heads = backbone(ALEX), linear(ALEX_LINEAR)
    lpips = read_lpips(
        [write(tmp_path, "heads.pth", heads, form), write(tmp_path, "alex.pth", state, form)]
    )
    a, b = rng.uniform(-1, 1, (2, 1, 64, 64, 3)).astype(np.float32)
    wanted = 0.0
    both = zip(direct_alex(state, a), direct_alex(state, b), heads.values(), strict=True)
    for ours, real, head in both:
        unit = [x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (ours, real)]
        wanted += np.mean(((unit[0] - unit[1]) ** 2) @ head.ravel())
    assert float(lpips(a, b)[0]) == pytest.approx(wanted, rel=1e-4)


def test_vgg_is_told_by_its_thirteen_convolutions(tmp_path):
    both = {
        **backbone(VGG, np.zeros),
        **linear(VGG_LINEAR),
    }  # a single file, as of lpips.LPIPS itself
    lpips = read_lpips([write(tmp_path, "lpips.pth", both)])
    assert list(lpips.heads) == ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"]
    sizes = [value.shape[1] for value in lpips.features(tf.zeros([1, 64, 64, 3])).values()]
    assert sizes == [64, 32, 16, 8, 4]  # unlike the shift-tolerant network's


@pytest.mark.parametrize(
    "state",
    [
        backbone(ALEX),  # without heads
        linear(ALEX_LINEAR),  # without a network
        {**backbone(ALEX), **linear(VGG_LINEAR)},
        {**backbone({**ALEX, 10: (200, 256, 3)}), **linear(ALEX_LINEAR)},
    ],
    ids=["no heads", "no network", "other heads", "other network"],
)
def test_other_weights_are_refused_by_name(state, tmp_path):
    with refusal(RunError, "lpips-weights-wrong", files=tmp_path / "x.pth"):
        read_lpips([write(tmp_path, "x.pth", state)])


def test_weights_that_the_user_has_are_not_absent(tmp_path):
    file = write(tmp_path, "lpips.pth", {**backbone(ALEX), **linear(ALEX_LINEAR)})
    network_metrics = open_network_metrics(quick=True, lpips_weights=(file,))
    assert network_metrics.lpips is not None
    assert "lpips" not in network_metrics.absent
    assert network_metrics.absent["fid_keras_inception"] == "no --inception-weights"


@pytest.mark.slow
def test_inception_is_keras_own_on_enlarged_pictures(tmp_path):
    shape = (299, 299, 3)
    theirs = keras.applications.InceptionV3(
        include_top=False, weights=None, pooling="avg", input_shape=shape
    )
    file = tmp_path / "inception.h5"
    theirs.save_weights(file)
    pictures = rng.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    enlarged = tf.image.resize(pictures, shape[:2])
    model = read_inception(file)
    assert model(pictures).shape == (2, 2048)
    np.testing.assert_allclose(model(pictures), theirs(enlarged), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_what_is_no_inception_is_refused(tmp_path):
    file = tmp_path / "other.h5"
    keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]).save_weights(file)
    for bad in (file, tmp_path / "gone.h5"):
        with refusal(RunError, "inception-weights-wrong", path=bad):
            read_inception(bad)

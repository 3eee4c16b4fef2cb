"""Conformance: one table of all layers, one short test per property."""

import inspect
import pkgutil
from importlib import import_module

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import mggr_tf.models
from mggr_tf.models.blocks import (
    AddAndClip,
    BlendAndClip,
    DepthToSpace,
    LayeredFlow,
    Lighten,
    Modulation,
    Opacity,
    PaintOver,
    ResumableDropout,
    Scale,
    SpaceToDepth,
    Upsampled,
    ZeroOutput,
)
from mggr_tf.models.classifiers import VGG16Input
from mggr_tf.models.critics import EyeWindow
from mggr_tf.models.stlpips_layers import BlurPool, ImageNetScaling, PixelSquares
from mggr_tf.models.warp import BackwardWarp

rng = np.random.default_rng(0)


def picture(channels, size=8):
    return tf.constant(rng.uniform(-1, 1, (2, size, size, channels)), tf.float32)


LAYERS = {
    BackwardWarp: (BackwardWarp, [picture(3), picture(2)]),
    Modulation: (Modulation, [picture(4), tf.constant(rng.normal(size=(2, 3)), tf.float32)]),
    DepthToSpace: (DepthToSpace, picture(12)),
    SpaceToDepth: (SpaceToDepth, picture(3)),
    Upsampled: (Upsampled, picture(3)),
    LayeredFlow: (lambda: LayeredFlow(4.0), picture(8)),
    Opacity: (Opacity, picture(7)),
    BlendAndClip: (BlendAndClip, [picture(3), picture(1), picture(3)]),
    AddAndClip: (AddAndClip, [picture(3), picture(3)]),
    EyeWindow: (EyeWindow, picture(3)),
    Scale: (lambda: Scale(4.0), picture(2)),
    Lighten: (Lighten, [picture(3), picture(1)]),
    PaintOver: (PaintOver, [picture(3), picture(3), picture(1), picture(3)]),
    ZeroOutput: (lambda: ZeroOutput(2), picture(3)),
    VGG16Input: (VGG16Input, picture(3)),
    ImageNetScaling: (ImageNetScaling, picture(3)),
    BlurPool: (BlurPool, picture(5)),
    PixelSquares: (lambda: PixelSquares(1), picture(3, size=7)),
    ResumableDropout: (lambda: ResumableDropout(0.5, seed=1), picture(2)),
}

CONSTANT = {ZeroOutput}
"""Layers that say nothing of their input but its shape."""

everyone = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)


def joined(out):
    """All outputs in one tensor."""
    return tf.concat(list(out.values()), -1) if isinstance(out, dict) else out


def randomised(layer):
    """A layer whose weights are not the zeros some of them start with."""
    make, inputs = LAYERS[layer]
    made = make()
    made(inputs)
    made.set_weights([rng.normal(size=w.shape).astype(w.dtype) for w in made.get_weights()])
    return made, inputs


def test_every_layer_has_a_row():
    found = set()
    for module in pkgutil.iter_modules(mggr_tf.models.__path__, "mggr_tf.models."):
        for _, thing in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(thing, keras.layers.Layer) and thing.__module__.startswith("mggr_tf"):
                found.add(thing)
    assert found == set(LAYERS)


@pytest.mark.extended
@everyone
def test_survives_its_config(layer):
    made, inputs = randomised(layer)
    again = layer.from_config(made.get_config())
    again(inputs)
    again.set_weights(made.get_weights())
    np.testing.assert_array_equal(joined(again(inputs)), joined(made(inputs)))


@pytest.mark.extended
@everyone
def test_survives_saving_and_loading_by_keras(layer, tmp_path):
    made, inputs = randomised(layer)
    listed = inputs if isinstance(inputs, list) else [inputs]
    symbols = [keras.Input(value.shape[1:]) for value in listed]
    model = keras.Model(symbols, made(symbols if isinstance(inputs, list) else symbols[0]))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(joined(again(inputs)), joined(model(inputs)))


@pytest.mark.extended
@everyone
def test_is_the_same_traced_as_eager(layer):
    made, inputs = randomised(layer)
    traced = tf.function(made)
    np.testing.assert_allclose(joined(traced(inputs)), joined(made(inputs)), atol=1e-6)


@pytest.mark.parametrize(
    "layer", [one for one in LAYERS if one not in CONSTANT], ids=lambda layer: layer.__name__
)
def test_passes_gradients_to_every_input(layer):
    made, inputs = randomised(layer)
    listed = inputs if isinstance(inputs, list) else [inputs]
    with tf.GradientTape() as tape:
        tape.watch(listed)
        out = tf.reduce_sum(tf.square(joined(made(inputs))))
    for gradient in tape.gradient(out, listed):
        assert gradient is not None
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@everyone
def test_runs_under_a_strategy(layer):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        made, inputs = randomised(layer)
    out = strategy.run(tf.function(made), args=(inputs,))
    np.testing.assert_allclose(joined(out), joined(made(inputs)), atol=1e-6)


def test_zeros_are_a_picture_of_nothing():
    np.testing.assert_array_equal(ZeroOutput(2)(picture(3)), np.zeros((2, 8, 8, 2)))


def test_lightening_blends_towards_white():
    grey = tf.fill([1, 2, 2, 3], -0.5)
    half = Lighten()([grey, tf.zeros([1, 2, 2, 1])])  # sigmoid(0) = 1/2
    np.testing.assert_allclose(grey + half, 0.25)
    sure = Lighten()([grey, tf.fill([1, 2, 2, 1], 50.0)])
    np.testing.assert_allclose(grey + sure, 1.0)


def test_an_open_gate_paints_over_the_picture_and_a_shut_one_only_adds():
    before, residual, colour = picture(3), 0.1 * picture(3), picture(3)
    shut, wide = tf.zeros([2, 8, 8, 1]), tf.fill([2, 8, 8, 1], 50.0)
    np.testing.assert_array_equal(PaintOver()([before, residual, shut, colour]), residual)
    painted = before + PaintOver()([before, residual, wide, colour])
    np.testing.assert_allclose(painted, colour + residual, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_zero_flow_is_identity(interpolation):
    image = picture(3)
    warped = BackwardWarp(interpolation)([image, tf.zeros([2, 8, 8, 2])])
    np.testing.assert_allclose(warped, image, atol=1e-6)


@pytest.mark.parametrize("flow", [(1, 0), (0, 1), (-2, 1), (30, -30), (-100, 7)])
def test_a_bicubic_warp_by_whole_pixels_moves_them(flow):
    image = picture(3)
    everywhere = tf.broadcast_to(tf.constant(flow, tf.float32), [2, 8, 8, 2])
    np.testing.assert_allclose(
        BackwardWarp("bicubic")([image, everywhere]),
        BackwardWarp("bilinear")([image, everywhere]),
        atol=1e-5,
    )


def test_a_bicubic_warp_keeps_ramps_and_passes_gradients_at_no_flow():
    ramp = tf.broadcast_to(tf.range(16.0)[None, None, :, None], [1, 16, 16, 1])
    flow = tf.Variable(tf.zeros([1, 16, 16, 2]))
    with tf.GradientTape() as tape:
        out = BackwardWarp("bicubic")([ramp, flow])
        middle = tf.reduce_sum(out[:, 4:-4, 4:-4])
    slope = tape.gradient(middle, flow)[0, 4:-4, 4:-4, 0]
    # a = -0.75: the slope at a pixel is -a times the central difference of two pixels.
    np.testing.assert_allclose(slope, 1.5, atol=1e-5)


@pytest.mark.parametrize("flow", [(1, 0), (0, 1), (-2, 1), (0.5, 0), (30, -30)])
def test_warp_reads_where_the_flow_points_and_repeats_borders(flow):
    dx, dy = flow
    image = picture(1)
    everywhere = tf.broadcast_to(tf.constant([dx, dy], tf.float32), [2, 8, 8, 2])
    warped = BackwardWarp()([image, everywhere])
    y, x = np.mgrid[:8, :8]
    at_x, at_y = np.clip(x + dx, 0, 7), np.clip(y + dy, 0, 7)
    left, right = np.floor(at_x).astype(int), np.ceil(at_x).astype(int)
    rows = at_y.astype(int)
    part = (at_x - left)[..., None]
    wanted = image.numpy()[:, rows, left] * (1 - part) + image.numpy()[:, rows, right] * part
    np.testing.assert_allclose(warped, wanted, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_warp_agrees_with_opencv(interpolation):
    import cv2

    how = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    image, flow = picture(3, 32), 6 * picture(2, 32)
    ours = BackwardWarp(interpolation)([image, flow]).numpy()
    y, x = np.mgrid[:32, :32].astype(np.float32)
    for one, picture_, by in zip(ours, image.numpy(), flow.numpy(), strict=True):
        theirs = cv2.remap(
            picture_, x + by[..., 0], y + by[..., 1], how, None, cv2.BORDER_REPLICATE
        )
        # OpenCV rounds coordinates to 1/32 pixel.
        assert np.abs(one - theirs).max() < 0.1
        assert np.abs(one - theirs).mean() < 0.01


def test_warp_refuses_what_is_no_flow_and_what_it_cannot_do():
    with pytest.raises(ValueError, match="bilinear, bicubic"):
        BackwardWarp("nearest")
    with pytest.raises(ValueError, match="2 channels"):
        BackwardWarp()([picture(3), picture(3)])


def test_an_untouched_condition_has_no_influence():
    layer = Modulation()
    features = picture(4)
    np.testing.assert_array_equal(layer([features, tf.constant([[9.0], [-9.0]])]), features)


def test_dropout_repeats_itself_from_a_restored_count_and_nowhere_else():
    layer, features = ResumableDropout(0.5, seed=1), tf.ones([1, 4000])
    first = layer(features, training=True)
    second = layer(features, training=True)
    assert not np.array_equal(first, second)
    assert np.mean(first == 0) == pytest.approx(0.5, abs=0.05)
    assert np.mean(first) == pytest.approx(1.0, abs=0.05)
    layer.set_weights([np.int64(1)])
    np.testing.assert_array_equal(layer(features, training=True), second)
    np.testing.assert_array_equal(layer(features), features)


def test_vgg_is_fed_as_keras_feeds_it():
    image = picture(3)
    theirs = keras.applications.vgg16.preprocess_input((image.numpy() + 1) * 127.5)
    np.testing.assert_allclose(VGG16Input()(image), theirs, atol=1e-4)

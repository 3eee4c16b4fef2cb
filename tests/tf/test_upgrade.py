"""Redirectors with layers on blocks, an opacity and two flows, started from older weights."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mggr_edge.errors import ConfigError, RunError
from mggr_edge.geometry.eye_crop import EyeCrop
from mggr_edge.pipeline.compositing import compose_eye
from mggr_tf.config.files import load_config
from mggr_tf.models.blocks import BlendAndClip, DepthToSpace, SpaceToDepth
from mggr_tf.models.networks import Networks, load_weights, save_weights
from mggr_tf.models.upgrade import upgrade
from mggr_tf.models.warp import BackwardWarp
from mggr_tf.runs.adoption import warm_start
from mggr_tf.runs.folder import RunFolder
from mggr_tf.runs.listing import open_run
from refusals import refusal

rng = np.random.default_rng(0)
OLD = [
    "models.coarse.layers=1",
    "models.fine.by_blocks=false",
    "models.fine.alpha=false",
    "models.fine.paint=true",
    "models.fine.decoder=[32, 24]",
    "models.fine.detail=8",
]
NEW = [
    "models.fine.by_blocks=true",
    "models.fine.alpha=true",
    "models.fine.paint=false",
    "models.fine.decoder=[32, 16]",
    "models.fine.detail=6",
]


def smooth_inputs(batch=2):
    eye = rng.uniform(-1, 1, (batch, 12, 12, 3)).astype(np.float32)
    eye = np.stack([cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) for one in eye])
    return {
        "eye": tf.constant(np.clip(eye, -1, 1)),
        "gazemap": tf.constant(rng.uniform(0, 1, (batch, 64, 64, 2)), tf.float32),
        "delta": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
        "head_pose": tf.constant(rng.normal(size=(batch, 2)), tf.float32),
    }


def randomised(network):
    network.set_weights([w + 0.05 * rng.normal(size=w.shape) for w in network.get_weights()])
    return network


def upgraded(changes):
    old = load_config("mggr-edge", changes=OLD)
    new = load_config("mggr-edge", changes=[*OLD, *changes])
    theirs, ours = Networks(old).averaged, Networks(new).averaged
    for name in ("coarse", "fine"):
        size = getattr(new.models, name)
        assert size.can_start_from(getattr(old.models, name))
        upgrade(randomised(theirs.part(name)), ours.part(name), new_size=size)
    return theirs, ours


def test_blocks_are_undone_by_depth_to_space():
    picture = tf.constant(rng.normal(size=(2, 8, 8, 3)), tf.float32)
    np.testing.assert_array_equal(DepthToSpace()(SpaceToDepth()(picture)), picture)


@pytest.mark.extended
def test_layers_on_blocks_compute_the_same_where_nothing_is_omitted():
    """All channels are kept, and the kernels of the output layers have only one pixel."""
    whole = ["models.fine.decoder=[32, 24]", "models.fine.detail=8"]
    old = load_config("mggr-edge", changes=OLD)
    new = load_config("mggr-edge", changes=[*OLD, *NEW, *whole])
    theirs, ours = Networks(old).averaged.fine, Networks(new).averaged.fine
    randomised(theirs)
    for name in ("residual", "gate", "colour"):
        head = theirs.get_layer(f"{name}_head")
        kernel, bias = head.get_weights()
        kernel[[0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0.0
        head.set_weights([0 * kernel, bias - 20] if name == "gate" else [kernel, bias])
    upgrade(theirs, ours, new_size=new.models.fine)
    given = {**smooth_inputs(), "coarse": smooth_inputs()["eye"]}
    made = ours(given)
    residual = theirs.get_layer("residual_head")
    seen = tf.keras.Model(theirs.inputs, residual.output)(given)
    assert float(tf.reduce_max(made["alpha"])) < 1e-6
    inner = np.s_[:, 4:-4, 4:-4]
    np.testing.assert_allclose(made["residual"][inner], seen[inner], atol=1e-4)


@pytest.mark.extended
def test_the_second_flow_starts_hidden_and_without_motion():
    theirs, ours = upgraded([*NEW, "models.coarse.layers=2"])
    given = smooth_inputs()
    hidden = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(
        ours.joined(given)["flow"], (1 - hidden) * theirs.joined(given)["flow"], atol=1e-4
    )


@pytest.mark.parametrize("layers", [1, 2])
def test_an_untrained_redirector_hardly_changes_the_eye(layers):
    config = load_config("mggr-edge", changes=[*OLD, *NEW, f"models.coarse.layers={layers}"])
    made = Networks(config).redirection.joined(given := smooth_inputs())
    np.testing.assert_allclose(made["flow"], 0, atol=4e-3)
    np.testing.assert_allclose(made["alpha"], 0.018, atol=1e-3)
    np.testing.assert_allclose(made["redirected"], given["eye"], atol=0.03)


def test_network_and_device_blend_alike():
    """At the resolution of the patch, both compute the same picture."""
    eye = np.clip(smooth_inputs(1)["eye"].numpy(), -1, 1)
    frame = np.rint((eye[0] + 1) * 127.5).astype(np.uint8)
    eye = frame[None].astype(np.float32) / 127.5 - 1
    flow = cv2.resize(rng.normal(size=(5, 5, 2)).astype(np.float32), (64, 64))[None] * 2
    flow -= np.median(flow, axis=(1, 2))
    alpha = cv2.resize(rng.uniform(0, 1, (6, 6)).astype(np.float32), (64, 64))[None, ..., None]
    residual = 0.3 * rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    residual = cv2.resize(residual[0], (64, 64))[None]
    coarse = BackwardWarp("bicubic")([tf.constant(eye), tf.constant(flow)])
    wanted = BlendAndClip()([coarse, tf.constant(alpha), tf.constant(residual)])
    opening = np.array([[12, 32], [32, 24], [52, 32], [32, 40]], np.float64)
    made = compose_eye(
        frame,
        crop=EyeCrop((31.5, 31.5), 64.0, 0.0, 64),
        opening=opening,
        flow=flow[0],
        residual=residual[0],
        alpha=alpha[0],
    )
    inside = made.mask == 1.0
    assert inside.sum() > 200
    network = (wanted.numpy()[0][made.region.slices] + 1) * 127.5
    # OpenCV rounds positions to 1/32 pixel.
    off = np.abs(made.pixels[inside] - np.clip(network[inside], 0, 255))
    assert off.mean() < 0.5
    assert off.max() < 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("models.fine.layers=2", "layers"),
        ("models.coarse.layers=3", "layers"),
        ("models.coarse.alpha=true", "alpha"),
        ("models.fine.stem_stride=1", "by_blocks"),
        ("models.fine.paint=true", "paint"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        load_config("mggr-edge", changes=[*OLD, *NEW, change])


@pytest.mark.extended
def test_a_run_starts_from_a_run_with_an_older_structure(tmp_path):
    new = load_config("mggr-edge", changes=[*OLD, *NEW, "models.coarse.layers=2"])
    data = open_run("default").record.data
    donor = RunFolder.create(tmp_path / "old", load_config("mggr-edge", changes=OLD), data)
    networks = Networks(donor.config)
    for name in ("coarse", "fine"):
        save_weights(randomised(networks.averaged.part(name)), donor.weights_file(name))
    save_weights(networks.estimator, donor.weights_file("estimator"))
    run = RunFolder.create(tmp_path / "new", new, data)
    warm_start(run, donor)
    converted = Networks(new).averaged
    for name in ("coarse", "fine"):
        load_weights(converted.part(name), run.weights_file(name))
    given = smooth_inputs()
    hidden = 1 / (1 + np.exp(3.0))
    flow = networks.averaged.joined(given)["flow"]
    np.testing.assert_allclose(converted.joined(given)["flow"], (1 - hidden) * flow, atol=1e-4)
    narrow = replace(new.models.fine, widths=(16, 32, 40))
    other = replace(new, models=replace(new.models, fine=narrow))
    with refusal(RunError, "donor-network-differs", networks="fine"):
        warm_start(RunFolder.create(tmp_path / "other", other, data), donor)

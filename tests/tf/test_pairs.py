"""Pairs: what may be paired, pure functions of (seed, step), twins of the device's code."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mggr_edge.common.progress import no_progress
from mggr_edge.errors import DataError
from mggr_edge.geometry.gaze_map import draw_gazemap
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.network_io import redirector_inputs
from mggr_tf.config.files import load_config
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.augment import Gazemap, augment_pair
from mggr_tf.data.pairs import all_pairs, pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.data.source import open_samples
from mggr_tf.drawn_eyes.flow import UNSEEN, flow_codes, mirrored_codes
from mggr_tf.drawn_eyes.rendered import LANDMARKS
from mggr_tf.models.warp import BackwardWarp
from refusals import refusal

NONE = Augmentation(brightness=0, contrast=0, colour=0, shift_px=0)


def batches(samples, *, steps=(0, 4), seed=3, how=NONE, batch=8):
    made = pair_dataset(
        samples,
        shares=Shares(batch),
        seed=seed,
        steps=steps,
        augmentation=how,
        conventions=Conventions(),
    )
    return [{k: v.numpy() for k, v in b.items()} for b in made]


def index_of(samples, image):
    uint8 = np.rint((image + 1) * 127.5).astype(np.uint8)
    return int(np.flatnonzero((samples.images == uint8).all((1, 2, 3)))[0])


@pytest.mark.extended
def test_pairs_share_subject_side_and_head_and_are_two(samples):
    for batch in batches(samples):
        for eye, target in zip(batch["eye"], batch["target"], strict=True):
            source, other = index_of(samples, eye), index_of(samples, target)
            assert source != other
            assert samples.group[source] == samples.group[other]


def test_what_a_batch_says_is_what_the_device_would_say(samples):
    for batch in batches(samples, steps=(0, 2)):
        source = [index_of(samples, eye) for eye in batch["eye"]]
        device = redirector_inputs(
            samples.images[source],
            source_deg=batch["source_gaze"],
            target_deg=batch["target_gaze"],
            head_deg=samples.head_deg[source],
            conventions=Conventions(),
        )
        for name, value in device.items():
            np.testing.assert_allclose(batch[name], value, atol=2e-5, err_msg=name)


@pytest.mark.extended
def test_a_source_gaze_may_be_named_wrongly(samples):
    """As by an estimator: `delta` is off by it, the labels and the pictures are not."""
    how = dataclasses.replace(NONE, source_gaze_deg=2.5)
    right, wrong = (batches(samples, steps=(0, 40), how=one) for one in (NONE, how))
    errors = []
    for one, other in zip(right, wrong, strict=True):
        for name in set(one) - {"delta"}:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        errors.append((one["delta"] - other["delta"]) * Conventions().delta_scale_deg)
    errors = np.concatenate(errors)
    assert len(np.unique(errors)) > 600
    assert errors.std(axis=0) == pytest.approx([2.5, 2.5], rel=0.15)
    assert np.abs(errors.mean(axis=0)).max() < 0.4
    assert abs(np.corrcoef(errors.T)[0, 1]) < 0.2


@pytest.mark.extended
def test_a_source_gaze_may_be_underestimated(samples):
    """As by an estimator with a small slope: each axis by a random fraction of its own."""
    how = dataclasses.replace(NONE, source_pitch_shrink=0.5, source_yaw_shrink=0.2)
    right, small = (batches(samples, steps=(0, 40), how=one) for one in (NONE, how))
    factors = []
    for one, other in zip(right, small, strict=True):
        error_deg = (one["delta"] - other["delta"]) * Conventions().delta_scale_deg
        far = np.abs(one["source_gaze"]) > 2
        factors.append(np.where(far, 1 + error_deg / one["source_gaze"], np.nan))
    factors = np.concatenate(factors)
    np.testing.assert_allclose(np.nanmin(factors, axis=0), [0.5, 0.8], atol=0.03)
    np.testing.assert_allclose(np.nanmax(factors, axis=0), [1.0, 1.0], atol=0.02)
    assert np.nanmean(factors, axis=0) == pytest.approx([0.75, 0.9], abs=0.03)


def test_a_head_pose_may_be_named_wrongly(samples):
    how = dataclasses.replace(NONE, head_pose_deg=4.0, source_gaze_deg=2.5)
    right, wrong = (batches(samples, steps=(0, 40), how=one) for one in (NONE, how))
    named = [[one[name] for one in of] for of in (right, wrong) for name in ("head_pose", "delta")]
    heads, deltas, wrong_heads, wrong_deltas = (np.concatenate(values) for values in named)
    errors = (wrong_heads - heads) * Conventions().head_pose_scale_deg
    assert errors.std(axis=0) == pytest.approx([4.0, 4.0], rel=0.15)
    source_errors = (wrong_deltas - deltas) * Conventions().delta_scale_deg
    assert np.abs(np.corrcoef(errors.T, source_errors.T)[:2, 2:]).max() < 0.2


@pytest.mark.extended
def test_a_step_s_batch_depends_on_seed_and_step_alone(samples):
    unbroken = batches(samples, steps=(0, 6), how=Augmentation())
    resumed = batches(samples, steps=(4, 6), how=Augmentation())
    for one, other in zip(unbroken[4:], resumed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    another = batches(samples, steps=(4, 5), seed=4)[0]
    assert not np.array_equal(another["source_gaze"], resumed[0]["source_gaze"])


def test_all_pairs_are_all_and_their_choice_is_seeded(samples):
    everything = all_pairs(samples, limit=10_000, seed=0)
    sizes = np.bincount(samples.group)
    assert len(everything) == (sizes * (sizes - 1)).sum()
    assert len(np.unique(everything, axis=0)) == len(everything)
    some = all_pairs(samples, limit=9, seed=1)
    np.testing.assert_array_equal(some, all_pairs(samples, limit=9, seed=1))
    assert not np.array_equal(some, all_pairs(samples, limit=9, seed=2))


def test_lonely_patches_are_refused(samples):
    lonely = samples._take(np.arange(len(samples)) == 0)
    with refusal(DataError, "no-pairs", source=lonely.source):
        all_pairs(lonely, limit=1, seed=0)


def test_augmentation_treats_both_pictures_alike(samples):
    same = tf.constant(samples.images[:6])
    strong = Augmentation(brightness=0.3, contrast=0.5, colour=0.2, shift_px=5)
    first, second, *_ = augment_pair(same, same, seed=tf.constant([1, 2]), how=strong)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, same.numpy() / 127.5 - 1, atol=0.05)
    assert np.abs(first).max() <= 1


@pytest.mark.parametrize(
    ("how", "most", "least"),
    [({"gamma": 0.5}, 0.6, 0.02), ({"ramp": 0.6}, 0.7, 0.05), ({"blur": 1.0}, 0.8, 0.002)],
)
def test_each_further_change_of_light_and_lens_is_seen_and_shared(samples, how, most, least):
    same = tf.constant(samples.images[:8])
    plain = same.numpy() / 127.5 - 1
    only = Augmentation(brightness=0, contrast=0, colour=0, shift_px=0, **how)
    first, second, *_ = augment_pair(same, same, seed=tf.constant([1, 2]), how=only)
    np.testing.assert_allclose(first, second, atol=1e-6)
    change = np.abs(first - plain)
    assert least < change.mean() < change.max() < most
    assert len(np.unique(change.mean(axis=(1, 2, 3)))) == 8


def test_noise_is_each_picture_s_own(samples):
    same = tf.constant(samples.images[:8])
    noisy = Augmentation(brightness=0, contrast=0, colour=0, shift_px=0, noise=0.1)
    first, second, *_ = augment_pair(same, same, seed=tf.constant([1, 2]), how=noisy)
    assert 0.01 < np.abs(first - second).mean() < 0.1


def test_a_ramp_darkens_one_side(samples):
    grey = tf.fill([16, 64, 64, 3], tf.constant(128, tf.uint8))
    ramp = Augmentation(brightness=0, contrast=0, colour=0, shift_px=0, ramp=1.0)
    light = augment_pair(grey, grey, seed=tf.constant([3, 4]), how=ramp)[0].numpy().mean(axis=-1)
    np.testing.assert_allclose(light[:, 31:33, 31:33].mean(axis=(1, 2)), 0.004, atol=0.02)
    sides = light[:, :, 0].mean(axis=1) - light[:, :, -1].mean(axis=1)
    assert sides.min() < -0.2 < 0.2 < sides.max()


@pytest.fixture(scope="module")
def followed():
    """Drawn eyes of both sides, with the flow between them."""
    config = load_config("mggr-edge", changes=["synthetic={subjects: 6, per_group: 3, seed: 4}"])
    return open_samples(
        "synthetic",
        config=config,
        subjects=None,
        with_flow=True,
        progress=no_progress,
        notify=lambda _: None,
    )


def test_flow_is_drawn_for_the_stages_that_learn_from_it() -> None:
    asking = load_config(
        "mggr-edge", changes=["stages.coarse.losses=[{name: exact_flow, weight: 1.0}]"]
    )
    stages = ("estimator", "judge", "coarse", "joint")
    assert [asking.asks_for_exact_flow(stage) for stage in stages] == [False, False, True, True]
    assert not load_config("mggr-edge").asks_for_exact_flow("joint")


@pytest.mark.extended
def test_the_flow_of_a_pair_reads_its_target_out_of_its_source(followed):
    """Of lit pictures of either side, shifted as in training: shadows change, places fit."""
    warp = BackwardWarp("bilinear")
    made = pair_dataset(
        followed,
        shares=Shares(32),
        seed=1,
        steps=(0, 4),
        augmentation=Augmentation(brightness=0, contrast=0, colour=0, shift_px=3),
        conventions=Conventions(),
        with_flow=True,
    )
    carried, copied, turned = [], [], []
    for batch in made:
        seen = batch["flow_seen"][..., None]
        # Pictures of a group share their crop: most of the skin stays where it is.
        length_px = tf.norm(batch["flow"], axis=-1, keepdims=True)
        moving = seen * tf.cast(length_px > 0.5, tf.float32)
        picture = warp([batch["eye"], batch["flow"]])
        wrong_way = warp([batch["eye"], -batch["flow"]])
        for errors, image in ((carried, picture), (copied, batch["eye"]), (turned, wrong_way)):
            off = tf.reduce_sum(tf.abs(image - batch["target"]) * moving)
            errors.append(float(off / tf.reduce_sum(moving)))
        assert 0.8 < float(tf.reduce_mean(seen)) < 1
    assert np.mean(carried) < 0.65 * np.mean(copied)
    assert np.mean(carried) < 0.5 * np.mean(turned)


@pytest.mark.extended
def test_landmarks_go_where_the_pictures_go(followed):
    """Both sides come as one; shifts move points as they move pictures."""

    def landmarks(shift_px):
        made = pair_dataset(
            followed,
            shares=Shares(16),
            seed=1,
            steps=(0, 1),
            augmentation=Augmentation(brightness=0, contrast=0, colour=0, shift_px=shift_px),
            conventions=Conventions(),
            with_landmarks=True,
        )
        return next(iter(made))

    still, moved = landmarks(0), landmarks(9)
    outer, inner = (LANDMARKS.index(f"{name} corner") for name in ("outer", "inner"))
    points = still["source_landmarks"].numpy()
    assert (points[:, outer, 0] < points[:, inner, 0] - 20).all(), "the canonical eye is the right"
    for eye, name in (("eye", "source_landmarks"), ("target", "target_landmarks")):
        by = moved[name].numpy() - still[name].numpy()
        np.testing.assert_allclose(by, np.broadcast_to(by[:, :1], by.shape), atol=1e-5)
        assert len({tuple(b) for b in by[:, 0]}) > 10
        for k, (x, y) in enumerate(np.rint(by[:, 0]).astype(int)):
            middle = moved[eye][k, 20:44, 20:44]
            was = still[eye][k, 20 - y : 44 - y, 20 - x : 44 - x]
            np.testing.assert_allclose(middle, was, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "code", "loss"),
    [
        ("with_flow", "flow-unknown", "exact_flow"),
        ("with_landmarks", "landmarks-unknown", "landmarks"),
    ],
)
def test_what_nobody_knows_is_refused(samples, asked, code, loss):
    unknown = dataclasses.replace(samples, flows=None, landmarks=None)
    with refusal(DataError, code, source=samples.source, loss=loss):
        pair_dataset(
            unknown,
            shares=Shares(2),
            seed=1,
            steps=(0, 1),
            augmentation=NONE,
            conventions=Conventions(),
            **{asked: True},
        )


def test_flow_codes_keep_what_fits_and_mirror():
    flow = np.array([[[1.03, -2.0], [15.8, 0.0], [0.0, 16.0], [4.0, 4.0]]], np.float32)
    codes = flow_codes(flow, np.array([[True, True, True, False]]))
    expected = [[[8, -16], [126, 0], [UNSEEN, UNSEEN], [UNSEEN, UNSEEN]]]
    np.testing.assert_array_equal(codes, expected)
    mirrored = [[[UNSEEN, UNSEEN], [UNSEEN, UNSEEN], [-126, 0], [-8, -16]]]
    np.testing.assert_array_equal(mirrored_codes(codes), mirrored)
    np.testing.assert_array_equal(mirrored_codes(mirrored_codes(codes)), codes)


@settings(max_examples=25, deadline=None)
@given(st.floats(-40, 40), st.floats(-40, 40))
def test_gazemap_twins_agree(pitch, yaw):
    ours = Gazemap()(tf.constant([[pitch, yaw]], tf.float32)).numpy()
    np.testing.assert_allclose(ours, draw_gazemap([[pitch, yaw]]), atol=2e-5)

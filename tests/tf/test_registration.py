"""Alignment of targets with their sources, on crops that moved by known amounts."""

import dataclasses

import cv2
import numpy as np
import pytest

from mggr_edge.errors import DataError
from mggr_edge.models.conventions import Conventions
from mggr_tf.data.pairs import all_pairs
from mggr_tf.data.source import samples_of_drawn
from mggr_tf.drawn_eyes import draw_samples
from mggr_tf.evaluation.network_metrics import NetworkMetrics
from mggr_tf.evaluation.protocol import evaluate_pairs
from mggr_tf.evaluation.registration import align
from refusals import refusal

SHIFTS_PX = np.array([[0, 0], [2.5, -3], [-4, 1.5], [1, 5]])


@pytest.fixture(scope="module")
def eyes():
    """Pictures of one group share their crop."""
    return samples_of_drawn(draw_samples(subjects=4, per_group=2, seed=3, heads=1), seed=3)


def moved(image, shift_px, scale=1.0):
    place = np.float64([[scale, 0, shift_px[0]], [0, scale, shift_px[1]]])
    place[:, 2] += (1 - scale) * 31.5
    return cv2.warpAffine(image, place, (64, 64), borderMode=cv2.BORDER_REPLICATE)


def test_a_shared_crop_stays_where_it_is(eyes):
    found = align(eyes.images, all_pairs(eyes, limit=16, seed=1))
    assert found.known.mean() > 0.7
    assert np.abs(found.shift_px[found.known]).mean() < 0.7


@pytest.mark.extended
def test_moved_crops_are_moved_back(eyes):
    pairs = all_pairs(eyes, limit=16, seed=1)
    still = align(eyes.images, pairs)
    for shift in SHIFTS_PX:
        images = eyes.images.copy()
        targets = [moved(images[pair[1]], shift, scale=1.03) for pair in pairs]
        both = np.concatenate([images[pairs[:, 0]], targets])
        rows = np.arange(len(pairs))
        found = align(both, np.stack([rows, rows + len(pairs)], axis=1))
        known = found.known & still.known
        assert known.mean() > 0.5
        gained = found.shift_px[known] - still.shift_px[known]
        np.testing.assert_allclose(np.median(gained, axis=0), shift, atol=0.5)
        middle = (slice(None), slice(12, 52), slice(12, 52))
        off = [
            np.abs(one[known][middle].astype(float) - still.images[known][middle]).mean()
            for one in (found.images, np.array(targets))
        ]
        assert off[0] < (off[1] if shift.any() else off[1] + 3)


def test_a_picture_of_something_else_is_not_aligned(eyes):
    noise = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    images = np.concatenate([eyes.images[:1], noise])
    found = align(images, np.array([[0, 1]]))
    assert not found.known[0]
    np.testing.assert_array_equal(found.images[0], noise[0])
    assert found.shift_px[0].tolist() == [0, 0]


def evaluated(samples, **how):
    def redirect(inputs):
        eye = inputs["eye"]
        flow = np.zeros((*eye.shape[:3], 2), np.float32)
        return {"redirected": eye, "coarse": eye, "flow": flow, "residual": 0 * eye}

    return evaluate_pairs(
        samples,
        redirect=redirect,
        judge=lambda inputs: np.zeros((len(inputs["eye"]), 2), np.float32),
        network_metrics=NetworkMetrics(),
        conventions=Conventions(),
        limit=20,
        seed=1,
        **how,
    )


def test_pairs_that_cannot_be_aligned_are_not_scored(eyes):
    every, aligned = evaluated(eyes), evaluated(eyes, aligned=True)
    assert 0 < len(aligned.scores.subject) <= len(every.scores.subject)
    noise = np.random.default_rng(1).integers(0, 256, eyes.images.shape).astype(np.uint8)
    with refusal(DataError, "not-aligned"):
        evaluated(dataclasses.replace(eyes, images=noise), aligned=True)

"""The error inside the eye opening, against closed forms and the renderer's own outlines."""

import cv2
import numpy as np
import pytest

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.contract import OpeningParity
from mggr_edge.models.conventions import Conventions
from mggr_export.eyes.sight import Openings
from mggr_export.proofs.proof import breaks_opening, opening_misses, opening_text
from mggr_tf.config.conversion_limits import Limit, PrecisionLimits
from mggr_tf.data.schema import make_samples
from mggr_tf.drawn_eyes import draw_subject, render_eye

CONVENTIONS = Conventions()
PAIRS = np.array([[0, 1], [1, 0]])


def eyes(landmarks=None):
    return make_samples(
        np.zeros((2, 64, 64, 3), np.uint8),
        gaze_deg=np.float32([[0, 0], [0, 9]]),
        head_deg=np.zeros((2, 2), np.float32),
        sides=["right"] * 2,
        subjects=["a"] * 2,
        source="noise",
        licence="Apache-2.0",
        landmarks=landmarks,
    )


def limits(opening):
    exact = Limit(max_abs=1.0)
    return PrecisionLimits(exact, exact, exact, exact, exact, extra_gaze_deg=1.0, opening=opening)


def test_without_landmarks_the_opening_is_the_gazemap_s_disc():
    found = Openings.of_pairs(eyes(), PAIRS, CONVENTIONS)
    radius_px = CONVENTIONS.gazemap_k * 32
    assert found.region == "eyeball disc"
    assert found.inside.shape == (2, 64, 64)
    assert found.inside[0].sum() == pytest.approx(np.pi * radius_px**2, rel=0.02)


@pytest.mark.parametrize(("closure", "least"), [(0.0, 0.75), (0.6, 0.7)])
def test_of_drawn_eyes_it_is_what_lies_between_the_lids(closure, least):
    """A narrow opening is few pixels high, and half of them lie on its border."""
    people = [draw_subject([3, number]) for number in range(2)]
    ahead = Gaze(0, 0)
    drawn = [
        render_eye(one, gaze=ahead, head_pose=ahead, side="right", seed=1, closure=closure)
        for one in people
    ]
    samples = eyes(np.stack([eye.landmarks() for eye in drawn]))
    found = Openings.of_pairs(samples, np.array([[0, 1], [1, 0]]), CONVENTIONS)
    assert found.region == "lids"
    for inside, eye in zip(found.inside, drawn, strict=True):
        right = polygon(eye.outline)
        assert (inside & right).sum() / (inside | right).sum() > least


def polygon(outline):
    mask = np.zeros((64, 64), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 1, shift=4)
    return mask > 0


def test_only_what_lies_inside_counts():
    found = Openings.of_pairs(eyes(), PAIRS, CONVENTIONS)
    right = np.zeros((2, 64, 64, 3), np.float32)
    outside = right + 0.5 * ~found.inside[..., None]
    assert found.compare(outside.astype(np.float32), right).psnr_db is None
    inside = right + 0.02 * found.inside[..., None]
    parity = found.compare(inside.astype(np.float32), right)
    assert parity.psnr_db == pytest.approx(40, abs=0.01)  # 2 / 0.02
    assert parity.share == pytest.approx(found.inside.mean(), abs=1e-3)


def test_a_limit_of_the_opening_is_missed_below_it():
    allowed = limits(Limit(min_psnr_db=40.0))
    for psnr_db, missed in ((41.0, False), (39.0, True), (float("nan"), True), (None, False)):
        parity = OpeningParity("lids", 0.2, psnr_db)
        assert breaks_opening(allowed, parity) is missed
        assert bool(opening_misses(allowed, parity)) is missed
        assert ("FAILED" in opening_text(allowed, parity)) is missed
    assert not breaks_opening(limits(None), OpeningParity("lids", 0.2, 1.0))
    assert not opening_misses(allowed, None)
    with pytest.raises(ValueError, match="min_psnr_db only"):
        limits(Limit(max_abs=0.1))

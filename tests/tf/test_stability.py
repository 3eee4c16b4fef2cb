"""Temporal stability of redirected videos, relative to the input."""

from dataclasses import replace

import numpy as np
import pytest

from mggr_edge.geometry.angles import Gaze
from mggr_edge.pipeline.compositing import Region
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_tf.evaluation.stability import Stability

REGION = Region(40, 30, 100, 70)


def picture(shift=0.0, brightness=0.0):
    y, x = np.mgrid[:100, :140].astype(float)
    grey = 120 + 50 * np.sin((x + shift) / 5) * np.cos(y / 7) + brightness
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, -1)


def result_of(frame, strength=1.0):
    right = EyeResult(
        side="right",
        outline=np.zeros((16, 2), np.float32),
        gaze_before=Gaze(0, 0),
        gaze_target=Gaze(0, 0),
        strength=strength,
        reason=None,
        region=REGION,
        mask=np.ones((40, 60), np.float32),
    )
    left = replace(right, side="left", region=None, mask=None)
    face = FaceResult(1, np.zeros((468, 3), np.float32), Gaze(0, 0), (right, left))
    return FrameResult(frame, (face,))


def scores_of(inputs, outputs, strengths=None):
    stability = Stability()
    for number, (frame, out) in enumerate(zip(inputs, outputs, strict=True)):
        strength = 1.0 if strengths is None else strengths[number]
        stability.add(frame, result_of(out, strength))
    return stability.scores()


def test_an_output_equal_to_the_input_is_as_steady():
    frames = [picture(1.3 * number) for number in range(6)]
    scores = scores_of(frames, frames)
    assert scores.steps == 5
    assert scores.ratio == pytest.approx(1.0)
    assert scores.flicker == 0.0


def test_motion_is_aligned_and_flicker_is_not():
    """A pattern that moves by 1.3 pixels per frame has hardly an error. Changing light has one."""
    moving = [picture(1.3 * number) for number in range(6)]
    unaligned = np.abs(moving[0].astype(int) - moving[1]).mean()
    assert scores_of(moving, moving).input_error < 0.2 * unaligned
    noise = np.random.default_rng(0)
    flickering = [
        np.clip(one + noise.normal(0, 12, one.shape), 0, 255).astype(np.uint8) for one in moving
    ]
    assert scores_of(moving, flickering).ratio > 3


def test_only_pixels_inside_the_eye_count():
    frames = [picture() for _ in range(4)]
    outputs = [one.copy() for one in frames]
    for number, one in enumerate(outputs):
        one[:20] = 60 * (number % 2)
    scores = scores_of(frames, outputs)
    assert scores.output_error == pytest.approx(scores.input_error, abs=0.05)


def test_a_steady_rise_of_the_strength_is_no_flicker_and_an_alternating_one_is():
    frames = [picture() for _ in range(6)]
    rising = scores_of(frames, frames, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    alternating = scores_of(frames, frames, [1.0, 0.8, 1.0, 0.8, 1.0, 0.8])
    # The left eye of this face has the same strength.
    assert rising.flicker == pytest.approx(0.0, abs=1e-9)
    assert alternating.flicker == pytest.approx(0.4)


def test_a_clip_without_redirected_eyes_has_no_values():
    stability = Stability()
    for _ in range(3):
        stability.add(picture(), FrameResult(picture(), ()))
    scores = stability.scores()
    assert (scores.steps, scores.ratio, scores.flicker) == (0, None, None)

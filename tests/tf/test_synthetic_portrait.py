"""Whole drawn faces are found by the device's own models, with the eyes where they were drawn."""

from __future__ import annotations

import dataclasses
from functools import cache

import cv2
import numpy as np
import pytest

from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.installed import find_landmark_models
from mggr_edge.models.runtimes import TFLiteRunner
from mggr_edge.vision.face_finder import FaceFinder
from mggr_tf.drawn_eyes import draw_face, draw_subject

FRONTAL = Gaze(0, 0)


@cache
def finder() -> FaceFinder:
    runners = {k: TFLiteRunner(path.read_bytes()) for k, path in find_landmark_models().items()}
    return FaceFinder(
        detector=runners["face_detector"], mesh=runners["face_mesh"], iris=runners["iris"]
    )


@pytest.mark.extended
@pytest.mark.parametrize(
    ("number", "head"), [(0, FRONTAL), (1, Gaze(0, 15)), (2, Gaze(-8, -15)), (3, Gaze(10, 0))]
)
def test_a_drawn_face_is_found_with_its_eyes(number: int, head: Gaze) -> None:
    subject = dataclasses.replace(draw_subject([41, number]), glasses=None)
    drawn = draw_face(subject, gaze=FRONTAL, head_pose=head, seed=0)
    assert drawn.image.shape == (480, 640, 3)
    (face,) = finder().find(drawn.image)
    for eye in face.eyes:
        centre, radius = cv2.minEnclosingCircle(drawn.outlines[eye.side])
        np.testing.assert_allclose(eye.corners.mean(axis=0), centre, atol=0.35 * radius)
    assert abs(face.head_pose.yaw_deg - head.yaw_deg) < 15
    assert np.sign(face.head_pose.yaw_deg) == np.sign(head.yaw_deg) or abs(head.yaw_deg) < 5


@pytest.mark.extended
def test_both_eyes_look_the_same_way_and_close() -> None:
    subject = draw_subject([41, 3])
    opened = draw_face(subject, gaze=Gaze(0, 15), head_pose=FRONTAL, seed=0)
    closed = draw_face(subject, gaze=Gaze(0, 15), head_pose=FRONTAL, seed=0, closure=1.0)
    for side in ("right", "left"):
        gaps = [np.ptp(face.outlines[side][:, 1]) for face in (opened, closed)]
        assert gaps[1] < 0.6 * gaps[0]
    right, left = opened.outlines["right"], opened.outlines["left"]
    assert left[:, 0].min() - right[:, 0].max() > 20

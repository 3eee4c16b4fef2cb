"""The eye crop: one similarity and its inverse; flows that mirror."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.eyecrop import EyeCrop, crop_of_eye, crop_patch, mirror_flow, mirror_image


def outline(centre=(300, 200), half_width=40, half_height=15, roll_deg=0.0):
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = np.stack([half_width * np.cos(turn), half_height * np.sin(turn)], 1)
    roll = np.radians(roll_deg)
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    points = points @ rotation.T + centre
    return points, points[[0, 8]]


@given(st.floats(-40, 40), st.floats(5, 200))
def test_corners_come_out_level_and_at_the_same_place(roll, half_width):
    points, corners = outline(half_width=half_width, half_height=half_width / 3, roll_deg=roll)
    crop = crop_of_eye(points, corners=corners)
    mapped = corners @ crop.eye_from_frame()[:, :2].T + crop.eye_from_frame()[:, 2]
    mapped = mapped[np.argsort(mapped[:, 0])]
    half = 64 / 3.4
    np.testing.assert_allclose(mapped, [[31.5 - half, 31.5], [31.5 + half, 31.5]], atol=0.05)


@given(st.floats(-180, 180), st.floats(10, 400))
def test_way_back_is_the_inverse(roll, width):
    crop = EyeCrop((123.4, 56.7), width, roll)
    there = np.vstack([crop.eye_from_frame(), [0, 0, 1]])
    back = np.vstack([crop.frame_from_eye(), [0, 0, 1]])
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("width", [64.0, 128.0, 320.0])
def test_patch_reads_the_right_place_at_any_size(width):
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    frame = np.stack([x / 3, y / 3, x * 0], -1).astype(np.uint8)
    crop = EyeCrop((320.0, 240.0), width, 0.0)
    patch = crop_patch(frame, crop).astype(float)
    wanted = np.array([20.0, 40.0, 1]) @ crop.frame_from_eye().T
    np.testing.assert_allclose(patch[40, 20, :2] * 3, wanted, atol=3.5)


def test_sharp_frames_do_not_alias():
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[:, ::2] = 255
    patch = crop_patch(frame, EyeCrop((200, 200), 256, 0.0))
    assert patch.std() < 30  # plain sampling would give stripes


@pytest.mark.parametrize("bad", [np.full((6, 2), 3.0), np.full((6, 2), np.nan)])
def test_useless_outlines_are_refused(bad):
    with pytest.raises(ValueError, match="outline"):
        crop_of_eye(bad, corners=bad[:2])


def test_warping_a_mirrored_picture_by_the_mirrored_flow_mirrors_the_result():
    rng = np.random.default_rng(1)
    image = rng.uniform(0, 1, (32, 32, 3)).astype(np.float32)
    flow = rng.uniform(-3, 3, (32, 32, 2)).astype(np.float32)

    def warp(picture, by):
        x, y = np.meshgrid(np.arange(32, dtype=np.float32), np.arange(32, dtype=np.float32))
        return cv2.remap(picture, x + by[..., 0], y + by[..., 1], cv2.INTER_LINEAR)

    np.testing.assert_allclose(
        warp(mirror_image(image), mirror_flow(flow))[:, 4:-4],
        mirror_image(warp(image, flow))[:, 4:-4],
        atol=0.02,
    )

"""The eye crop: one similarity and its inverse; flows that mirror."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.geometry.eye_crop import EyeCrop, crop_of_eye, crop_patch, mirror_flow, mirror_image


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


WIDE_PX = 33_000  # OpenCV warps nothing wider than 32766 pixels


@pytest.mark.parametrize("x", [0.0, 57.3, WIDE_PX - 40.2, WIDE_PX + 300.0, -300.0])
@pytest.mark.parametrize("roll", [0.0, 33.0])
def test_a_frame_of_any_width_gives_the_patch_that_its_part_gives(x, roll):
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (90, WIDE_PX, 3), np.uint8)
    patch = crop_patch(frame, EyeCrop((x, 50.0), 70.0, roll))
    left = 0 if x < WIDE_PX / 2 else WIDE_PX - 200
    part = np.ascontiguousarray(frame[:, left : left + 200])
    expected = cv2.warpAffine(
        part,
        EyeCrop((x - left, 50.0), 70.0, roll).eye_from_frame(),
        (64, 64),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    # OpenCV 5 computes coordinates in single precision, so few values differ by one grey level.
    apart = np.abs(patch.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    tall = crop_patch(np.ascontiguousarray(frame.swapaxes(0, 1)), EyeCrop((50.0, x), 70.0, roll))
    assert tall.shape == (64, 64, 3)


@pytest.mark.parametrize("width", [20_000.0, 50_000.0])
def test_a_square_wider_than_opencv_warps_is_averaged(width):
    x = np.linspace(0, 255, WIDE_PX)
    frame = np.broadcast_to(np.rint(x)[None, :, None], (40, WIDE_PX, 3)).astype(np.uint8)
    patch = crop_patch(np.ascontiguousarray(frame), EyeCrop((16_000.0, 20.0), width, 0.0))
    places = np.arange(64) * width / 64 + 16_000 - 31.5 * width / 64
    expected = np.interp(places, np.arange(WIDE_PX), x)
    np.testing.assert_allclose(patch[32, :, 0], expected, atol=4.0)

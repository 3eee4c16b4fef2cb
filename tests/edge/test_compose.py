import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eye_frames import (
    CENTRE,
    NO_RESIDUAL,
    SIZE,
    constant_flow,
    make_crop,
    make_frame,
    make_opening,
    noise_frame,
    put,
    texture,
)
from mggr_edge.pipeline.compositing import compose_eye, opening_mask


@given(st.integers(0, 99), st.floats(-180, 180), st.floats(8, 90))
@settings(max_examples=25, deadline=None)
def test_zero_flow_and_residual_leave_every_bit(seed: int, roll: float, width: float) -> None:
    frame = noise_frame(seed)
    opening = make_opening(width_px=width, roll_deg=roll)
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=constant_flow(0, 0),
        residual=NO_RESIDUAL,
    )
    assert eye.mask.max() == pytest.approx(1.0)
    np.testing.assert_array_equal(put(frame, eye), frame)


@given(st.integers(0, 99), st.floats(-45, 45), st.floats(-30, 270), st.floats(-30, 230))
@settings(max_examples=25, deadline=None)
def test_outside_the_mask_every_bit_stays(seed: int, roll: float, x: float, y: float) -> None:
    rng = np.random.default_rng(seed)
    frame = noise_frame(seed)
    before = frame.copy()
    opening = make_opening((x, y), roll_deg=roll)
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=rng.normal(0, 20, (64, 64, 2)).astype(np.float32),
        residual=rng.normal(0, 1, (64, 64, 3)).astype(np.float32),
    )
    np.testing.assert_array_equal(frame, before)
    changed = np.zeros(SIZE, np.bool_)
    changed[eye.region.slices] = eye.mask > 0
    np.testing.assert_array_equal(put(frame, eye)[~changed], frame[~changed])
    here = frame[eye.region.slices]
    np.testing.assert_array_equal(eye.pixels[eye.mask == 0], here[eye.mask == 0])


@pytest.mark.parametrize("roll_deg", [0.0, 25.0, -70.0])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_constant_flow_moves_the_picture_by_its_amount(roll_deg: float, strength: float) -> None:
    opening = make_opening(roll_deg=roll_deg)
    # Beyond +-90 degrees the crop would take the corners the other way round.
    crop = make_crop(opening)
    eye = compose_eye(
        make_frame(),
        crop=crop,
        opening=opening,
        flow=constant_flow(4.0, -2.0),
        residual=NO_RESIDUAL,
        strength=strength,
    )
    scale, roll = crop.width_px / 64, np.radians(roll_deg)
    dx = strength * scale * (4 * np.cos(roll) + 2 * np.sin(roll))
    dy = strength * scale * (4 * np.sin(roll) - 2 * np.cos(roll))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    expected = texture(x + dx, y + dy)[eye.region.slices]
    full = eye.mask == 1.0
    assert full.sum() > 500
    assert np.abs(eye.pixels[full] - expected[full]).max() < 2.0


def test_a_backward_flow_to_the_right_brings_the_iris_to_the_left() -> None:
    frame = np.full((*SIZE, 3), 255, np.uint8)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frame[np.hypot(x - CENTRE[0], y - CENTRE[1]) < 7] = 0
    opening = make_opening()
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=constant_flow(5, 0),
        residual=NO_RESIDUAL,
    )
    dark = put(frame, eye)[..., 0] < 128
    assert x[dark].mean() == pytest.approx(CENTRE[0] - 5 * make_crop(opening).width_px / 64, abs=1)
    assert y[dark].mean() == pytest.approx(CENTRE[1], abs=0.5)


def test_strength_0_is_identity() -> None:
    frame, opening = noise_frame(0), make_opening(roll_deg=10)
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=constant_flow(9, 9),
        residual=NO_RESIDUAL + 1,
        strength=0.0,
    )
    np.testing.assert_array_equal(put(frame, eye), frame)


def test_strength_shortens_the_flow_instead_of_fading() -> None:
    frame, opening = noise_frame(0), make_opening()
    crop = make_crop(opening)
    half = compose_eye(
        frame,
        crop=crop,
        opening=opening,
        flow=constant_flow(6, 2),
        residual=NO_RESIDUAL,
        strength=0.5,
    )
    short = compose_eye(
        frame, crop=crop, opening=opening, flow=constant_flow(3, 1), residual=NO_RESIDUAL
    )
    np.testing.assert_array_equal(half.pixels, short.pixels)


@pytest.mark.parametrize(("strength", "levels"), [(1.0, 25.5), (0.5, 12.75)])
def test_the_residual_is_added_in_units_of_the_network(strength: float, levels: float) -> None:
    frame = np.full((*SIZE, 3), 100, np.uint8)
    opening = make_opening(roll_deg=-15)
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=constant_flow(0, 0),
        residual=NO_RESIDUAL + np.array([0.2, -0.2, 0], np.float32),
        strength=strength,
    )
    added = eye.pixels[eye.mask == 1.0].astype(float) - 100
    np.testing.assert_allclose(added, np.broadcast_to([levels, -levels, 0], added.shape), atol=0.51)


def test_an_eye_outside_the_frame_changes_nothing() -> None:
    frame, opening = noise_frame(0), make_opening((-200, -200))
    eye = compose_eye(
        frame,
        crop=make_crop(opening),
        opening=opening,
        flow=constant_flow(5, 5),
        residual=NO_RESIDUAL,
    )
    assert eye.mask.size == 0
    np.testing.assert_array_equal(put(frame, eye), frame)


def test_the_mask_holds_the_opening_and_more_above_it_than_below() -> None:
    opening = make_opening()
    crop = make_crop(opening)
    mask = opening_mask(opening, crop)
    eye_from_frame = crop.eye_from_frame(128)
    inside = np.rint(opening @ eye_from_frame[:, :2].T + eye_from_frame[:, 2]).astype(int)
    assert (mask[inside[:, 1], inside[:, 0]] > 0.99).all()
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0.0
    rows = np.nonzero(mask[:, 64] > 0.5)[0]
    assert inside[:, 1].min() - rows.min() > 1.5 * (rows.max() - inside[:, 1].max())
    # Soft: no visible step between neighbours.
    assert np.abs(np.diff(mask, axis=0)).max() < 0.25
    assert np.abs(np.diff(mask, axis=1)).max() < 0.25


@pytest.mark.parametrize("left", [0, 33_000 - 240])
def test_a_frame_wider_than_opencv_reads_gives_the_pixels_of_its_part(left: int) -> None:
    rng = np.random.default_rng(0)
    part = make_frame()
    wide = np.zeros((SIZE[0], 33_000, 3), np.uint8)
    wide[:, left : left + SIZE[1]] = part
    flow = rng.normal(0, 4, (64, 64, 2)).astype(np.float32)
    residual = rng.normal(0, 0.1, (64, 64, 3)).astype(np.float32)
    eyes = []
    for frame, shift in ((wide, left), (part, 0)):
        opening = make_opening((CENTRE[0] + shift, CENTRE[1]), roll_deg=12)
        eyes.append(
            compose_eye(
                frame, crop=make_crop(opening), opening=opening, flow=flow, residual=residual
            )
        )
    assert eyes[0].region.left == eyes[1].region.left + left
    # Float32 places at 33000 pixels are 1/256 of a pixel apart.
    np.testing.assert_allclose(eyes[0].pixels.astype(int), eyes[1].pixels, atol=5)
    assert (eyes[0].pixels != wide[eyes[0].region.slices]).any()

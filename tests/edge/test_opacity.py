"""The opacity of a redirector: the part of the moved frame that new content replaces."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eye_frames import constant_flow, make_crop, make_frame, make_opening, noise_frame
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models import network_io
from mggr_edge.models.contract import Contract, Training, contract_from_json, contract_to_json
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.gaze_networks import GazeNetworks
from mggr_edge.pipeline.compositing import compose_eye, residual_in_colours_of

OPENING = make_opening()
CROP = make_crop(OPENING)


def composed(frame, *, residual, alpha, flow=None, strength=1.0):
    return compose_eye(
        frame,
        crop=CROP,
        opening=OPENING,
        flow=constant_flow(0, 0) if flow is None else flow,
        residual=np.broadcast_to(np.asarray(residual, np.float32), (64, 64, 3)),
        alpha=None if alpha is None else np.full((64, 64, 1), alpha, np.float32),
        strength=strength,
    )


@given(st.integers(0, 99), st.floats(-3, 3), st.floats(-0.5, 0.5))
@settings(max_examples=20, deadline=None)
def test_an_opacity_of_zero_is_the_same_as_none(seed, dx, added):
    frame = noise_frame(seed)
    flow = constant_flow(dx, -dx)
    eyes = [composed(frame, residual=added, alpha=alpha, flow=flow) for alpha in (None, 0.0)]
    np.testing.assert_array_equal(eyes[0].pixels, eyes[1].pixels)


@given(st.integers(0, 99), st.floats(-0.9, 0.9))
@settings(max_examples=20, deadline=None)
def test_opaque_content_leaves_no_texture_of_the_old_pixels(seed, colour):
    frame = noise_frame(seed)
    eye = composed(frame, residual=colour, alpha=1.0)
    inside = eye.mask == 1.0
    np.testing.assert_allclose(eye.pixels[inside], 127.5 * (colour + 1), atol=1.0)
    added = composed(frame, residual=colour, alpha=None)
    assert added.pixels[inside].std() > 10 * max(eye.pixels[inside].std(), 0.5)


@given(st.floats(0, 1), st.floats(-0.5, 0.5), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_every_pixel_follows_the_formula(alpha, added, strength):
    frame = make_frame()
    eye = composed(frame, residual=added, alpha=alpha, strength=strength)
    inside = eye.mask == 1.0
    before = frame[eye.region.slices].astype(np.float64)[inside] / 127.5 - 1.0
    wanted = (1 - strength * alpha) * before + strength * added
    np.testing.assert_allclose(eye.pixels[inside], np.clip(127.5 * (wanted + 1), 0, 255), atol=1.01)
    # `residual` is the whole difference from the sampled pixels, which HDR frames need.
    np.testing.assert_allclose(
        eye.residual[inside], 127.5 * (wanted - before), atol=1e-2, rtol=1e-4
    )


def test_colours_of_a_grey_patch_stay_grey_under_an_opacity():
    grey = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, axis=0)
    patch = np.repeat(grey, 3, axis=2)
    residual = np.broadcast_to(np.array([0.3, 0.1, -0.2], np.float32), (64, 64, 3))
    alpha = np.full((64, 64, 1), 0.6, np.float32)
    kept = residual_in_colours_of(patch, flow=constant_flow(0, 0), residual=residual, alpha=alpha)
    np.testing.assert_allclose(kept, kept[..., :1].repeat(3, -1), atol=1e-6)
    np.testing.assert_allclose(kept[32, 32, 0], residual[32, 32] @ [0.299, 0.587, 0.114], atol=0.02)


class _Networks(GazeNetworks):
    coarse = None
    contract = Contract(
        models={}, training=Training(data="none", licence="none"), conventions=Conventions()
    )

    def __init__(self, alpha):
        self._alpha = alpha

    def model(self, name):
        assert name == "redirector"

        def run(inputs):
            made = {
                "flow": np.zeros((*inputs["eye"].shape[:3], 2), np.float32),
                "residual": np.zeros_like(inputs["eye"]),
                "redirected": inputs["eye"],
            }
            return made if self._alpha is None else {**made, "alpha": self._alpha[None]}

        return run


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_opacity_of_a_mirrored_eye_is_mirrored_back(side):
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (64, 64, 1))
    made = _Networks(ramp).redirect_crop(
        np.zeros((64, 64, 3), np.uint8), side=side, target=Gaze(0, 0), source=Gaze(5, 5)
    )
    np.testing.assert_array_equal(made.alpha, ramp if side == "right" else ramp[:, ::-1])


def test_a_redirector_without_an_opacity_has_none():
    made = _Networks(None).redirect_crop(
        np.zeros((64, 64, 3), np.uint8), side="right", target=Gaze(0, 0), source=Gaze(5, 5)
    )
    assert made.alpha is None
    assert network_io.tensors_of(Conventions())["redirector"].optional == {"alpha": 64 * 64}


@pytest.mark.parametrize("schema", [1, 2])
def test_contracts_of_both_versions_can_be_read(schema):
    contract = Contract(models={}, training=Training(data="none", licence="none"))
    data = json.loads(contract_to_json(contract))
    assert data["schema"] == 2
    assert contract_from_json(json.dumps({**data, "schema": schema})).schema == schema

"""Angles are in the picture's axes at any roll of the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mggr_edge.geometry.angles import Gaze, Side, mean_gaze, unit_vectors
from mggr_edge.geometry.eye_crop import crop_of_eye
from mggr_edge.models.bundle import Bundle
from mggr_edge.models.conventions import Conventions
from mggr_edge.models.gaze_networks import EyeEstimate, EyeRedirection
from mggr_edge.models.runtimes import Runner
from mggr_edge.pipeline.gating import Limits
from mggr_edge.pipeline.gaze_correction import NO_CORRECTION, GazeCorrection
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.calibration import LensLook
from mggr_edge.vision.face_finder import Face
from mggr_edge.vision.face_mesh import head_pose
from mggr_tf.evaluation.naturalness import watch

angles = st.floats(-80, 80)
rolls = st.floats(-180, 180)


@given(angles, angles, rolls)
def test_a_rolled_gaze_is_the_unit_vector_in_rotated_axes(
    pitch: float, yaw: float, roll: float
) -> None:
    gaze = Gaze(pitch, yaw)
    x, y, z = unit_vectors(gaze.array())
    turned = unit_vectors(gaze.rolled(roll).array())
    r = np.radians(roll)
    # The new x axis is (cos r, -sin r) in axes whose y points up.
    expected = [np.dot([np.cos(r), -np.sin(r)], [x, y]), np.dot([np.sin(r), np.cos(r)], [x, y]), z]
    np.testing.assert_allclose(turned, expected, atol=1e-5)
    assert gaze.rolled(roll).rolled(-roll).angle_to(gaze) < 1e-3


@given(angles, angles, rolls)
def test_mirroring_reverses_the_roll(pitch: float, yaw: float, roll: float) -> None:
    gaze = Gaze(pitch, yaw)
    assert gaze.rolled(roll).mirrored().angle_to(gaze.mirrored().rolled(-roll)) < 1e-3


@given(st.lists(st.tuples(angles, angles), min_size=1, max_size=4), rolls)
def test_the_mean_does_not_depend_on_the_axes(
    pairs: list[tuple[float, float]], roll: float
) -> None:
    gazes = [Gaze(*pair) for pair in pairs]
    turned = mean_gaze([gaze.rolled(roll) for gaze in gazes])
    assert turned.angle_to(mean_gaze(gazes).rolled(roll)) < 1e-3


@given(rolls, st.sampled_from(["right", "left"]))
def test_a_crop_of_a_known_side_is_upright_in_the_head(roll: float, side: Side) -> None:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    upright = np.stack([40 * np.cos(turn), 15 * np.sin(turn)], 1)
    outer, inner = upright[[8, 0]] if side == "right" else upright[[0, 8]]
    r = np.radians(roll)
    rotation = np.array([[np.cos(r), np.sin(r)], [-np.sin(r), np.cos(r)]])
    crop = crop_of_eye(
        upright @ rotation + (300, 200), corners=np.stack([outer, inner]) @ rotation, side=side
    )
    assert (crop.roll_deg - roll + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


class Bump:
    """Networks that move an iris in the patch's axes; the estimator reads a mark's place.

    Its estimate is the offset of the darkest spot from the patch's centre, so it depends on the
    picture alone, as a trained estimator's does.
    """

    contract = SimpleNamespace(conventions=Conventions())

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        self._runners = runners

    def model(self, name: str) -> Runner:
        return self._runners[name]

    def estimate_eyes(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        head_pose: Sequence[Gaze],
    ) -> list[EyeEstimate]:
        found = []
        for patch, head in zip(patches, head_pose, strict=True):
            dark = 255.0 - cv2.GaussianBlur(patch, (0, 0), 2).mean(axis=-1)
            dark = np.clip(dark - np.percentile(dark, 80), 0, None)
            y, x = np.mgrid[:64, :64] - 31.5
            middle = [float((dark * axis).sum() / dark.sum()) for axis in (-y, x)]
            gaze = Gaze(2 * middle[0] + 0.2 * head.pitch_deg, 2 * middle[1])
            found.append(EyeEstimate(gaze, None))
        return found

    def redirect_crops(
        self,
        patches: Sequence[NDArray[np.uint8]],
        *,
        sides: Sequence[Side],
        source: Sequence[Gaze],
        target: Sequence[Gaze],
        head_pose: Sequence[Gaze],
        fine: bool,
    ) -> list[EyeRedirection]:
        y, x = np.mgrid[:64, :64] - 31.5
        bump = np.clip((24 - np.hypot(x, y)) / 9, 0, 1)[..., None]
        nothing = np.zeros((64, 64, 3), np.float32)
        made = []
        for patch, was, to in zip(patches, source, target, strict=True):
            ends = [unit_vectors(gaze.array())[:2] for gaze in (was, to)]
            step = 13 * (ends[0] - ends[1]) * (1, -1)
            made.append(EyeRedirection(was, (bump * step).astype(np.float32), nothing, patch))
        return made


def turned(picture: NDArray[np.uint8], roll_deg: float) -> tuple[NDArray[np.uint8], NDArray]:
    """The picture rotated clockwise about its middle, and the 2x3 that does it."""
    size = picture.shape[1], picture.shape[0]
    matrix = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), -roll_deg, 1.0)
    flags = cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=1), matrix


def turned_face(face: Face, matrix: NDArray[np.float64]) -> Face:
    """The same face in the rotated picture, as landmark models without any error see it."""

    def moved(points: NDArray) -> NDArray[np.float32]:
        return (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)

    landmarks = face.landmarks.copy()
    landmarks[:, :2] = moved(face.landmarks)
    right, left = (
        replace(
            eye,
            outline=moved(eye.outline),
            iris_centre=tuple(moved(np.array([eye.iris_centre]))[0].tolist()),
        )
        for eye in face.eyes
    )
    return replace(face, landmarks=landmarks, head_pose=head_pose(landmarks), eyes=(right, left))


@pytest.fixture(scope="module")
def head(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The portrait, square, with room to turn."""
    side = 2 * max(portrait.shape[:2])
    room = [(side - length) // 2 for length in portrait.shape[:2]]
    return cv2.copyMakeBorder(portrait, room[0], room[0], room[1], room[1], cv2.BORDER_REPLICATE)


def redirected(
    runners: Mapping[str, Runner], picture: NDArray[np.uint8], face: Face, **how
) -> FrameResult:
    # Redirect also a gaze that is already near the target.
    redirector = Redirector(Bump(runners), limits=Limits(tolerance_deg=(0.0, 0.1)), **how)
    redirector._finder = SimpleNamespace(find=lambda frame, *, max_faces: (face,))
    return redirector.process(picture)


@pytest.mark.extended
@pytest.mark.parametrize("roll_deg", [90.0, 180.0, -90.0, 30.0, -17.0])
@pytest.mark.parametrize(
    "correction",
    [
        NO_CORRECTION,
        GazeCorrection((4, -3), ((0.2, -0.1), (0.1, 0.3)), (-9, 9), (-40, 40), (-40, 40)),
    ],
)
def test_a_rotated_picture_gives_the_same_result_rotated(
    runners: Mapping[str, Runner],
    head: NDArray[np.uint8],
    roll_deg: float,
    correction: GazeCorrection,
) -> None:
    (face,) = Redirector(Bump(runners))._finder.find(head)
    picture, matrix = turned(head, roll_deg)
    target = Gaze(6, 12)
    level = redirected(runners, head, face, target=target, correction=correction)
    # In the picture's axes the same look of a rotated head is another one.
    rolled = redirected(
        runners,
        picture,
        turned_face(face, matrix),
        target=target.rolled(-roll_deg),
        correction=correction,
    )
    assert rolled.faces[0].roll_deg != pytest.approx(level.faces[0].roll_deg, abs=5)
    for one, other in zip(level.faces[0].eyes, rolled.faces[0].eyes, strict=True):
        assert one.gaze_before is not None
        assert other.gaze_before is not None
        assert other.gaze_before.angle_to(one.gaze_before.rolled(-roll_deg)) < 0.3
        assert (one.strength, one.reason) == (1.0, None)
        assert other.strength == pytest.approx(1.0)
    expected, _ = turned(level.frame, roll_deg)
    changed = np.abs(expected.astype(int) - picture).max(axis=-1) > 8
    assert changed.sum() > 100
    off = np.abs(expected.astype(float) - rolled.frame)[changed]
    moved = np.abs(expected.astype(float) - picture)[changed]
    exact = roll_deg % 90 == 0
    assert off.mean() < (0.02 if exact else 0.12) * moved.mean()


@pytest.mark.extended
@pytest.mark.parametrize("roll_deg", [-40.0, -20.0, 20.0, 40.0])
@pytest.mark.parametrize("target", [Gaze(0, 15), Gaze(10, 0)])
def test_irises_go_where_the_target_lies_in_the_picture(
    bundle: Bundle, head: NDArray[np.uint8], roll_deg: float, target: Gaze
) -> None:
    """The whole way with the package's own weights: found, redirected, found again."""
    picture, _ = turned(head, roll_deg)
    away = Gaze(-target.pitch_deg, -target.yaw_deg)
    redirector = Redirector(bundle)
    irises = []
    for to in (target, away):
        redirector.target = to
        (face,) = redirector._finder.find(redirector.process(picture).frame)
        irises.append(np.mean([eye.iris_centre for eye in face.eyes], axis=0))
    dx, dy = irises[0] - irises[1]
    x, y, _ = unit_vectors(target.array())
    off_deg = np.degrees(np.arctan2(x * -dy - y * dx, x * dx + y * -dy))
    assert abs(off_deg) < 15


def test_a_gaze_that_was_produced_is_estimated_in_the_pictures_axes(
    bundle: Bundle, head: NDArray[np.uint8]
) -> None:
    picture, _ = turned(head, 30.0)
    redirector = Redirector(bundle)
    seen = []
    for target in (Gaze(0, 15), Gaze(0, -15)):
        redirector.target = target
        made = redirector.process(picture).frame
        (face,) = Redirector(bundle, strength=0.0).process(made).faces
        assert face.eyes[0].gaze_before is not None
        seen.append(face.eyes[0].gaze_before)
    pitch = seen[0].pitch_deg - seen[1].pitch_deg
    yaw = seen[0].yaw_deg - seen[1].yaw_deg
    assert yaw > 15
    assert abs(np.degrees(np.arctan2(pitch, yaw))) < 12


def test_a_look_is_measured_in_the_heads_axes(
    runners: Mapping[str, Runner], head: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.runs.calibration.FEWEST_FRAMES", 2)
    (face,) = Redirector(Bump(runners))._finder.find(head)
    looks = []
    for roll_deg in (0.0, 25.0):
        picture, matrix = turned(head, roll_deg)
        result = redirected(runners, picture, turned_face(face, matrix), strength=0.0)
        look = LensLook(duration_s=0.5)
        assert [look.take(result, time_s) for time_s in (0.0, 1.0)] == [False, True]
        bundle = SimpleNamespace(contract=SimpleNamespace(models={}))
        looks.append(look.calibration(bundle).profile.correction)  # type: ignore[arg-type]
    assert Gaze(*looks[0].offset_deg).angle_to(Gaze(*looks[1].offset_deg)) < 0.3
    assert Gaze(*looks[0].reference_deg).angle_to(Gaze(*looks[1].reference_deg)) < 0.3
    assert Gaze(*looks[0].offset_deg).angle_to(Gaze(0, 0)) > 0.5


def test_a_judge_is_asked_in_the_axes_of_each_patch(
    bundle: Bundle, head: NDArray[np.uint8]
) -> None:
    """An estimator that is right about the patches finds the eyes nearer to the target."""
    picture, _ = turned(head, 30.0)

    def judge(patches, sides, head_poses):
        return bundle.estimate_gazes(patches, sides=sides, head_pose=head_poses)

    found = watch([(picture, None)], bundle, target=Gaze(0, 14), judge=judge)
    assert found.judge_before_deg is not None
    assert found.judge_after_deg is not None
    assert found.judge_after_deg < 0.5 * found.judge_before_deg

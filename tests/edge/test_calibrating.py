"""Calibration by one look into the lens, its profile, and runs that use the profile."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mggr_edge.cli import main
from mggr_edge.cli.calibrate import _Display
from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.media.live.address import ANY_FORMAT, CameraFormat
from mggr_edge.models.bundle import Bundle
from mggr_edge.pipeline.gaze_correction import GazeCorrection, constant_correction
from mggr_edge.pipeline.redirector import Redirector
from mggr_edge.pipeline.results import EyeResult, FaceResult, FrameResult
from mggr_edge.runs import calibration as calibrating
from mggr_edge.runs.calibration import (
    MOST_SPREAD_DEG,
    LensLook,
    LookProgress,
    calibrate,
    calibrate_by_video,
)
from mggr_edge.runs.profile import (
    SLOPE_PRIOR,
    Profile,
    estimator_of,
    profile_file,
    read_profile,
    write_profile,
)
from refusals import error_of, refusal
from scripted_source import CAMERA

LINEAR = GazeCorrection((1.5, -2.0), ((0.1, 0.0), (0.05, -0.2)), (3.0, 1.0), (-6, 8), (-20, 15.5))


class Sitter:
    """A camera in front of a person who looks into the lens."""

    def __init__(self, now: NDArray[np.uint8]) -> None:
        self.now, self.asked, self.closed = now, 0, False

    def ask(self) -> None:
        self.asked += 1

    def read(self) -> NDArray[np.uint8]:
        time.sleep(0.01)
        return self.now

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "DURATION_S", 0.1)
    monkeypatch.setattr(calibrating, "FEWEST_FRAMES", 6)
    monkeypatch.setattr(calibrating, "PATIENCE_S", 120.0)


def _estimate(bundle: Bundle, picture: NDArray[np.uint8], **how) -> Gaze:
    (face,) = Redirector(bundle, strength=0.0, **how).process(picture).faces
    assert face.eyes[0].gaze_before is not None
    return face.eyes[0].gaze_before


def _frame(head: Sequence[float], gaze: Sequence[float] | None, roll_deg: float = 0.0):
    """A result with a face of that roll; angles are in the head's axes."""
    x, y = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    seen = None if gaze is None else Gaze(*gaze).rolled(-roll_deg)
    eyes = tuple(
        EyeResult(
            side,  # type: ignore[arg-type]
            np.full((16, 2), (sign * 30 * x, sign * 30 * y), np.float32),
            seen,
            Gaze(0, 0),
            0.0,
            "turned off",
        )
        for side, sign in (("right", -1), ("left", 1))
    )
    landmarks = np.zeros((468, 3), np.float32)
    face = FaceResult(0, landmarks, Gaze(*head).rolled(-roll_deg), (eyes[0], eyes[1]))
    return FrameResult(np.zeros((4, 4, 3), np.uint8), (face,))


def _turned_look(rng: np.random.Generator, *, turn_deg: float, roll_deg: float = 0.0) -> LensLook:
    """Five seconds of an estimator with `LINEAR`'s error, of a person who blinks and glances."""
    look = LensLook(duration_s=5.0)
    wide = replace(LINEAR, head_pitch_deg=(-90.0, 90.0), head_yaw_deg=(-90.0, 90.0))
    for n in range(151):
        time_s = n / 30
        phase = 2 * np.pi * time_s / 5
        head = (0.3 * turn_deg * np.sin(2 * phase), turn_deg * np.sin(phase))
        gaze = wide.offsets_deg(head) + rng.normal(0, 1.0, 2)
        if 40 <= n < 55:
            gaze += (-12, 9)  # A glance.
        closed = n % 50 < 4
        look.take(_frame(head, None if closed else tuple(gaze), roll_deg), time_s)
    return look


@pytest.mark.parametrize("roll_deg", [0.0, 25.0])
def test_offset_and_slope_are_measured_in_the_heads_axes(bundle: Bundle, roll_deg: float) -> None:
    look = _turned_look(np.random.default_rng(0), turn_deg=18, roll_deg=roll_deg)
    found = look.calibration(bundle)
    profile = found.profile
    assert profile.estimator_sha256 == estimator_of(bundle.contract)
    assert profile.frames == look.progress().frames == 151 - 13
    np.testing.assert_allclose(profile.correction.slope, LINEAR.slope, atol=0.04)
    heads = np.random.default_rng(1).uniform((-6, -15), (6, 15), (50, 2))
    off_deg = profile.correction.offsets_deg(heads) - LINEAR.offsets_deg(heads)
    assert np.linalg.norm(off_deg, axis=1).max() < 0.7
    assert 1.0 < profile.spread_deg < 2.0
    # The glance, 15 degrees in a tenth of the frames, is in both.
    assert found.after_deg < 0.75 * found.before_deg
    assert found.notes == ()
    assert look.progress().covered == pytest.approx((0.7, 1.0), abs=0.06)


def test_a_head_that_keeps_still_gives_a_constant_offset_and_a_note(bundle: Bundle) -> None:
    found = _turned_look(np.random.default_rng(0), turn_deg=0.5).calibration(bundle)
    correction = found.profile.correction
    assert np.abs(correction.slope).max() < SLOPE_PRIOR
    heads = np.random.default_rng(1).uniform(-40, 40, (50, 2))
    expected = replace(LINEAR, head_pitch_deg=(-9, 9), head_yaw_deg=(-9, 9)).offsets_deg((0, 0))
    np.testing.assert_allclose(correction.offsets_deg(heads), [expected] * 50, atol=0.4)
    assert np.ptp(correction.offsets_deg(heads), axis=0).max() < 0.15
    assert len(found.notes) == 1


def test_progress_counts_time_frames_and_head_poses() -> None:
    look = LensLook(duration_s=4.0, settle_s=1.0)
    assert (look.progress().seconds_left, look.progress().share) == (4.0, 0.0)
    assert not look.take(_frame((0, -30), (0, 0)), 10.0)  # Still settling.
    assert look.progress().frames == 0
    for n in range(3):
        assert not look.take(_frame((0, 5.0 * n), (0, 0)), 11.0 + n)
    assert look.progress().seconds_left == pytest.approx(2.0)
    assert look.progress().share == pytest.approx(0.5)
    assert look.progress().covered == pytest.approx((0.0, 0.95 * 10 / 30))
    assert not look.take(_frame((0, 5), None), 15.0)  # Only three of six frames yet.
    assert [look.take(_frame((0, 5), (0, 0)), 15.1 + n) for n in range(3)] == [False, False, True]
    assert look.progress().share == 1.0


def test_too_few_open_eyes_are_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "PATIENCE_S", 20.0)
    look = LensLook(duration_s=5.0)
    for n in range(20):
        assert not look.take(_frame((0, 0), (0, 0) if n < 2 else None), float(n))
    with refusal(StreamError, "too-few-open-eyes", found=2, frames=21, needed=6):
        look.take(_frame((0, 0), None), 20.5)
    with refusal(StreamError, "too-few-open-eyes", found=2, frames=21, needed=6):
        look.calibration(bundle)


def test_eyes_that_wander_are_refused(bundle: Bundle) -> None:
    look = LensLook(duration_s=None)
    rng = np.random.default_rng(0)
    for n in range(100):
        look.take(_frame((0, 0), tuple(rng.uniform(-15, 15, 2))), n / 30)
    with refusal(UsageError, "gaze-not-steady", limit_deg=MOST_SPREAD_DEG) as refused:
        look.calibration(bundle)
    assert refused.value.fields["spread_deg"] > MOST_SPREAD_DEG


def test_a_look_before_a_camera_is_measured_and_its_error_is_removed(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    sitter = scripted(Sitter(portrait))
    shown = []
    found = calibrate(CAMERA, bundle, camera_format=ANY_FORMAT, ask=sitter.ask, show=shown.append)
    assert (sitter.asked, sitter.closed) == (1, True)
    assert [one.frames for one in shown] == sorted(one.frames for one in shown)
    assert shown[-1].share == 1.0
    assert found.before_deg > 2.0
    assert found.after_deg < 1.0
    after = _estimate(bundle, portrait, correction=found.profile.correction)
    assert after.angle_to(Gaze(0, 0)) < 1.0


def test_a_camera_that_hangs_upside_down_is_turned_first(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    upright = _estimate(bundle, portrait)
    sitter = scripted(Sitter(np.ascontiguousarray(portrait[::-1, ::-1])))
    wanted = CameraFormat(None, None, None, "rotate-180")
    found = calibrate(CAMERA, bundle, camera_format=wanted, ask=sitter.ask)
    assert Gaze(*found.profile.correction.offset_deg).angle_to(upright) < 1.5


def test_a_camera_that_ends_or_shows_nobody_is_refused(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrating, "PATIENCE_S", 0.3)
    sitter = scripted(Sitter(np.full_like(portrait, 90)))
    with refusal(StreamError, "too-few-open-eyes", found=0, needed=6):
        calibrate(CAMERA, bundle, camera_format=ANY_FORMAT, ask=sitter.ask)
    left = iter([portrait, portrait])
    monkeypatch.setattr(sitter, "read", lambda: next(left, None))
    with refusal(StreamError, "calibration-cut-short", address=CAMERA):
        calibrate(CAMERA, bundle, camera_format=ANY_FORMAT, ask=lambda: time.sleep(0.2))


def _written_video(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


@pytest.fixture
def look_video(portrait: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A recorded look into the lens: the face moves a little."""
    moved = [np.roll(portrait, (n % 4, n % 6), (0, 1)) for n in range(12)]
    return _written_video(tmp_path / "look.mp4", moved)


def test_a_video_of_a_look_is_measured(
    bundle: Bundle, portrait: NDArray[np.uint8], look_video: Path
) -> None:
    found = calibrate_by_video(look_video, bundle)
    assert found.profile.frames == 12
    assert found.after_deg < 0.5 * found.before_deg
    offset = Gaze(*found.profile.correction.offset_deg)
    assert offset.angle_to(_estimate(bundle, portrait)) < 2.0
    assert found.profile.estimator_sha256 == estimator_of(bundle.contract)


def test_a_video_is_used_up_to_its_first_minute(
    bundle: Bundle, look_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "_MOST_VIDEO_S", 0.25)
    assert calibrate_by_video(look_video, bundle).profile.frames == 8


PROFILES = [
    Profile(("ab",), LINEAR, 140, spread_deg=1.5),
    Profile(("ab",), constant_correction(Gaze(4, -3)), 40, screen_deg=(-9.5, 3.0)),
]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_comes_back_and_fits_its_estimator_only(
    bundle: Bundle, tmp_path: Path, profile: Profile
) -> None:
    profile = replace(profile, estimator_sha256=estimator_of(bundle.contract))
    path = tmp_path / "new" / "me.json"
    write_profile(path, profile, force=False)
    assert json.loads(path.read_text())["schema"] == 2
    assert read_profile(path, bundle.contract) == profile
    with pytest.raises(OutputExistsError):
        write_profile(path, profile, force=False)
    write_profile(path, replace(profile, estimator_sha256=("0" * 64,)), force=True)
    with refusal(UsageError, "profile-of-other-model", path=path):
        read_profile(path, bundle.contract)


angles = st.floats(-40, 40)


@given(st.tuples(angles, angles), st.tuples(angles, angles), st.booleans())
def test_a_profile_of_schema_1_is_a_constant_offset(
    bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
    lens: tuple[float, float],
    screen: tuple[float, float],
    names_schema: bool,
) -> None:
    path = tmp_path_factory.mktemp("profile") / "me.json"
    content = {
        "estimator_sha256": list(estimator_of(bundle.contract)),
        "lens_deg": list(lens),
        "screen_deg": list(screen),
    }
    path.write_text(json.dumps(content | ({"schema": 1} if names_schema else {})))
    profile = read_profile(path, bundle.contract)
    assert profile.schema == 2
    assert profile.screen == Gaze(screen[0] - lens[0], screen[1] - lens[1])
    assert profile.spread_deg is None
    for head in (Gaze(0, 0), Gaze(-20, 35)):
        gaze = profile.correction.corrected(Gaze(5, 6), head_pose=head)
        assert (gaze.pitch_deg, gaze.yaw_deg) == pytest.approx((5 - lens[0], 6 - lens[1]))
    write_profile(path, profile, force=True)
    assert read_profile(path, bundle.contract) == profile


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "line 1 column 2"),
        ("[1]", "mapping"),
        ('{"schema": 1}', "'estimator_sha256'"),
        ('{"schema": 2}', "'estimator_sha256'"),
        ('{"estimator_sha256": [], "lens_deg": [0, 0], "screen_deg": [0], "schema": 1}', "list"),
        ('{"estimator_sha256": [], "lens_deg": [0, 91], "screen_deg": [0, 0]}', "91"),
        ('{"estimator_sha256": [], "lens_deg": [0, 80], "screen_deg": [0, -80]}', "-160"),
        ('{"estimator_sha256": [], "correction": {}, "frames": 9, "schema": 9}', "schema is 9"),
        ('{"estimator_sha256": [], "correction": {}, "frames": 0, "schema": 2}', "frames is 0"),
        (
            '{"estimator_sha256": [], "correction": {"slope": [[9, 9], [9, 9]], '
            '"head_yaw_deg": [-30, 30]}, "frames": 9, "schema": 2}',
            "correction: offsets",
        ),
    ],
)
def test_what_is_no_profile_is_refused(
    bundle: Bundle, tmp_path: Path, content: str, named: str
) -> None:
    path = tmp_path / "me.json"
    with refusal(UsageError, "profile-missing", path=path):
        read_profile(path, bundle.contract)
    path.write_text(content)
    with refusal(UsageError, "profile-invalid", path=path) as refused:
        read_profile(path, bundle.contract)
    assert named in str(refused.value.fields["reason"])


def test_the_command_asks_once_and_writes_the_users_own_profile(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    sitter = scripted(Sitter(portrait))
    monkeypatch.setattr("click.prompt", lambda text, **how: sitter.ask())
    result = CliRunner().invoke(main, ["calibrate", "/dev/video0"])
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path}/mggr-edge/profile.json: mean error" in result.output
    assert sitter.asked == 1
    assert "s left" not in result.output  # No terminal.
    profile = read_profile(profile_file(), bundle.contract)
    after = _estimate(bundle, portrait, correction=profile.correction)
    assert after.angle_to(Gaze(0, 0)) < 1.0


def test_progress_is_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("click.echo", lambda text, **how: written.append(text))
    with _Display() as display:
        for frames in (10, 20):
            display.show(LookProgress(2.04, 0.5, frames, (0.25, 1.0)))
    assert len({len(text) for text in written[:2]}) == 1
    assert all(text.startswith("\r") and "\n" not in text for text in written[:2])
    assert all(number in written[1] for number in ("2.0 s", "25%", "100%", "20 frames"))
    assert written[2:] == ["\n"]


def test_the_command_takes_a_video_and_no_picture(
    bundle: Bundle, look_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(look_video.parent)
    asked = ["calibrate", "look.mp4", "--profile", "me.json"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert read_profile(Path("me.json"), bundle.contract).frames == 12
    for arguments, code, path in (
        (asked, "output-exists", "me.json"),
        ([*asked, "--force", "--input-width", "640"], "camera-options-for-file", "look.mp4"),
        (["calibrate", "me.jpg"], "input-missing", "me.jpg"),
        (["calibrate", "."], "calibration-input-not-video", "."),
    ):
        error_of(CliRunner().invoke(main, arguments), code, path=path)


@pytest.mark.parametrize("correction", [LINEAR, constant_correction(Gaze(4.0, -3.0))])
def test_a_run_subtracts_the_correction_from_its_estimates(
    bundle: Bundle, portrait: NDArray[np.uint8], tmp_path: Path, correction: GazeCorrection
) -> None:
    cv2.imwrite(str(tmp_path / "her.png"), portrait[..., ::-1])
    profile = Profile(estimator_of(bundle.contract), correction, 100)
    write_profile(tmp_path / "me.json", profile, force=False)
    gazes = []
    for given_ in ([], ["--profile", str(tmp_path / "me.json")]):
        lines = tmp_path / f"{len(given_)}.jsonl"
        asked = ["run", str(tmp_path / "her.png"), "--estimate-only", "--metrics", str(lines)]
        assert CliRunner().invoke(main, [*asked, *given_]).exit_code == 0
        gazes.append(json.loads(lines.read_text())["faces"][0]["eyes"][0]["gaze_deg"])
    (face,) = Redirector(bundle).process(portrait).faces
    # The correction is in the head's axes, gazes are in the picture's.
    head = face.head_pose.rolled(face.roll_deg)
    offset = Gaze(*correction.offsets_deg((head.pitch_deg, head.yaw_deg)))
    expected = offset.rolled(-face.roll_deg)
    np.testing.assert_allclose(np.subtract(*gazes), expected.array(), atol=0.05)

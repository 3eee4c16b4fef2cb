"""Two looks make a profile; a profile takes an estimator's error off."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from mggr_edge import calibrating
from mggr_edge.angles import Gaze
from mggr_edge.bundle import Bundle
from mggr_edge.calibrating import LENS, SCREEN, calibrate
from mggr_edge.cli import main
from mggr_edge.errors import OutputExistsError, StreamError, UsageError
from mggr_edge.live.picture_format import AS_IT_COMES, PictureFormat
from mggr_edge.profile import Profile, estimator_of, profile_file, read_profile, write_profile
from mggr_edge.redirector import Redirector
from scripted_source import CAMERA

ASIDE = Gaze(0.0, 14.0)


class Sitter:
    """A camera before somebody who looks where they are asked to."""

    def __init__(self, looks: dict[str, NDArray[np.uint8]]) -> None:
        self.looks, self.now = looks, next(iter(looks.values()))
        self.asked: list[str] = []
        self.closed = False

    def ask(self, what: str) -> None:
        self.asked.append(what)
        self.now = self.looks[what]

    def read(self) -> NDArray[np.uint8]:
        time.sleep(0.01)
        return self.now

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "FRAMES", 6)
    monkeypatch.setattr(calibrating, "_SETTLE_S", 0.6)
    monkeypatch.setattr(calibrating, "PATIENCE_S", 30.0)


def _estimate(bundle: Bundle, picture: NDArray[np.uint8], **how) -> Gaze:
    (face,) = Redirector(bundle, strength=0.0, **how).process(picture).faces
    assert face.eyes[0].gaze_before is not None
    return face.eyes[0].gaze_before


def test_two_looks_are_measured_and_the_error_is_taken_off(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    aside = Redirector(bundle, target=ASIDE).process(portrait).frame
    sitter = scripted(Sitter({LENS: portrait, SCREEN: aside}))
    found = calibrate(CAMERA, bundle, wanted=AS_IT_COMES, ask=sitter.ask)
    assert sitter.asked == [LENS, SCREEN]
    assert sitter.closed
    assert found.estimator_sha256 == estimator_of(bundle.contract)
    seen = [_estimate(bundle, picture).array() for picture in (portrait, aside)]
    # Six frames, steadied over time: a look of forty has settled better.
    np.testing.assert_allclose([found.lens_deg, found.screen_deg], seen, atol=2.0)
    assert found.screen.yaw_deg > 5
    after = _estimate(bundle, portrait, offset=found.offset)
    assert after.angle_to(Gaze(0, 0)) < 1.0


def test_one_look_taken_twice_is_refused(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    sitter = scripted(Sitter({LENS: portrait, SCREEN: portrait}))
    with pytest.raises(UsageError, match=r"the two looks are 0.* degrees apart"):
        calibrate(CAMERA, bundle, wanted=AS_IT_COMES, ask=sitter.ask)


def test_nobody_before_the_camera_is_said(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrating, "PATIENCE_S", 0.3)
    sitter = scripted(Sitter({LENS: np.full_like(portrait, 90), SCREEN: portrait}))
    with pytest.raises(StreamError, match=r"only 0 of 6 frames in 0.3 seconds show open eyes"):
        calibrate(CAMERA, bundle, wanted=AS_IT_COMES, ask=sitter.ask)


def test_a_camera_that_hangs_upside_down_is_turned_first(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    aside = Redirector(bundle, target=ASIDE).process(portrait).frame
    turned = {what: picture[::-1, ::-1] for what, picture in ((LENS, portrait), (SCREEN, aside))}
    sitter = scripted(Sitter(turned))
    wanted = PictureFormat(None, None, None, "rotate-180")
    assert calibrate(CAMERA, bundle, wanted=wanted, ask=sitter.ask).screen.yaw_deg > 5


def test_eyes_that_wander_are_said() -> None:
    wandering = np.stack([np.linspace(-12, 12, 20), np.zeros(20)], axis=1)
    with pytest.raises(UsageError, match=r"the eyes moved by 6.* degrees; look into the lens"):
        calibrating._median(wandering, LENS)
    still = calibrating._median(wandering / 10, LENS)
    assert still.gaze_deg == pytest.approx((0, 0))


def test_a_profile_comes_back_and_fits_its_estimator_only(bundle: Bundle, tmp_path: Path) -> None:
    profile = Profile(estimator_of(bundle.contract), (1.5, -2.0), (-8.0, 1.0))
    path = tmp_path / "new" / "me.json"
    write_profile(path, profile, force=False)
    assert read_profile(path, bundle.contract) == profile
    assert (profile.offset, profile.screen) == (Gaze(1.5, -2.0), Gaze(-9.5, 3.0))
    with pytest.raises(OutputExistsError):
        write_profile(path, profile, force=False)
    write_profile(path, replace(profile, estimator_sha256=("0" * 64,)), force=True)
    with pytest.raises(UsageError, match=r"was measured with another model.*--profile none"):
        read_profile(path, bundle.contract)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no profile"),
        ('{"schema": 1}', "key 'estimator_sha256' is missing"),
        ('{"estimator_sha256": [], "lens_deg": [0, 0], "screen_deg": [0], "schema": 1}', "list"),
        ('{"estimator_sha256": [], "lens_deg": [0, 0], "screen_deg": [0, 0], "schema": 9}', "9"),
        (None, "does not exist; `mggr-edge calibrate` writes a profile"),
    ],
)
def test_what_is_no_profile_is_refused(
    bundle: Bundle, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "me.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=reason):
        read_profile(path, bundle.contract)


def test_the_command_asks_and_writes_the_users_own_profile(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    aside = Redirector(bundle, target=ASIDE).process(portrait).frame
    sitter = scripted(Sitter({LENS: portrait, SCREEN: aside}))
    monkeypatch.setattr("click.prompt", lambda text, **how: sitter.ask(text[7:].split(",")[0]))
    result = CliRunner().invoke(main, ["calibrate", "/dev/video0"])
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path}/mggr-edge/profile.json: the estimator is off by" in result.output
    assert read_profile(profile_file(), bundle.contract).screen.yaw_deg > 5
    refused = CliRunner().invoke(main, ["calibrate", "me.jpg"])
    assert (refused.exit_code, "me.jpg is no camera" in refused.output) == (2, True)


def test_a_run_takes_what_it_is_given_off_its_estimates(
    bundle: Bundle, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "her.png"), portrait[..., ::-1])
    profile = Profile(estimator_of(bundle.contract), (4.0, -3.0), (-8.0, 1.0))
    write_profile(tmp_path / "me.json", profile, force=False)
    gazes = []
    for given in ([], ["--profile", str(tmp_path / "me.json")]):
        lines = tmp_path / f"{len(given)}.jsonl"
        asked = ["run", str(tmp_path / "her.png"), "--estimate-only", "--metrics", str(lines)]
        assert CliRunner().invoke(main, [*asked, *given]).exit_code == 0
        gazes.append(json.loads(lines.read_text())["faces"][0]["eyes"][0]["gaze_deg"])
    (face,) = Redirector(bundle).process(portrait).faces
    # The offset is in the head's axes, gazes are in the picture's.
    expected = Gaze(4.0, -3.0).rolled(-face.roll_deg)
    np.testing.assert_allclose(np.subtract(*gazes), expected.array(), atol=0.05)

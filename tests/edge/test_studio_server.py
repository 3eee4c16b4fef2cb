"""The studio's server: whom it answers, and with what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import UsageError
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs import calibration as calibrating
from mggr_edge.runs.profile import Profile
from mggr_edge.tools.studio import calibration
from mggr_edge.tools.studio.frame_encoding import WIDEST_PX, Mailbox, encode_pair
from mggr_edge.tools.studio.server import PAGE, PageServer
from mggr_edge.tools.studio.session import Settings, changed
from ramps import smooth_picture
from refusals import refusal
from studio_page import Sitter, answer, frame, frame_where, frame_with, reasons, studio

pytest.importorskip("bottle")


@pytest.fixture
def blind(scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page without networks: nothing is found in its frames."""
    scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.pipeline.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", lambda *args, **how: ())
    bundle = SimpleNamespace(model=lambda name: None)
    with studio(bundle) as (_, url):  # type: ignore[arg-type]
        yield url


def test_only_its_own_page_is_answered(blind: str) -> None:
    port = urlsplit(blind).port
    own = [
        {"Host": f"127.0.0.1:{port}"},
        {"Host": f"localhost:{port}"},
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Origin": f"http://localhost:{port}", "Sec_Fetch_Site": "same-origin"},
    ]
    others = [
        {"Host": "evil.example"},
        {"Host": f"evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{port + 1}"},
        {"Origin": "http://evil.example"},
        {"Origin": f"https://127.0.0.1:{port}"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ]
    for path in ("/", "/frame", "/studio.js"):
        assert [answer(blind, path, **headers).status for headers in own] == [200] * len(own)
        assert {answer(blind, path, **headers).status for headers in others} == {403}
    before = frame(blind)[0]["settings"]
    for headers in others:
        asked = {"strength": 0.1}
        assert answer(blind, "/settings", method="POST", body=asked, **headers).status == 403
    assert frame(blind)[0]["settings"] == before


def test_it_listens_on_this_machine_alone() -> None:
    with PageServer(0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"


def test_every_answer_forbids_what_is_not_its_own(blind: str) -> None:
    for path in ("/", "/frame", "/nothing"):
        headers = answer(blind, path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert not {"unsafe", "*", "http", "data:"} & set(policy.replace("-", " ").split())
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
    refused = answer(blind, "/", Host="evil.example")
    assert "default-src 'none'" in refused.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"method": "GET"}, 405, ""),
        ({"body": {"strength": 0.5}, "Content_Type": "text/plain"}, 415, "application/json"),
        ({"body": b"{"}, 400, "not valid JSON"),
        ({"body": [1]}, 400, "a JSON object"),
        ({"body": {"strength": 0.5, "pad": "x" * 5000}}, 413, "4096 bytes"),
        ({"body": {"strength": 1.5}}, 400, "strength is 1.5"),
        ({"body": {"strength": True}}, 400, "strength is True"),
        ({"body": {"yaw_deg": 31}}, 400, "yaw is 31"),
        ({"body": b'{"pitch_deg": NaN}'}, 400, "NaN"),
        ({"body": {"is_on": 1}}, 400, "is_on is 1"),
        ({"body": {"colour": 1}}, 400, "unknown setting colour"),
    ],
)
def test_settings_are_taken_as_a_whole_or_not_at_all(
    blind: str, request_: dict, status: int, said: str
) -> None:
    got = answer(blind, "/settings", **{"method": "POST", **request_})
    assert (got.status, said in got.content.decode()) == (status, True)
    assert frame(blind)[0]["settings"] == frame(blind)[0]["shown"] == vars(Settings())


def test_what_is_changed_and_what_stays() -> None:
    after = changed(Settings(strength=0.5), {"yaw_deg": 7, "is_on": False})
    assert after == Settings(yaw_deg=7.0, strength=0.5, is_on=False)
    assert (after.target, after.applied_strength) == (Gaze(0, 7), 0.0)
    with refusal(UsageError, "target-out-of-range", angle="pitch", found=-21.0):
        changed(after, {"pitch_deg": -21})


@pytest.mark.parametrize(
    ("setting", "value", "code", "fields"),
    [
        ("strength", 1.5, "strength-out-of-range", {"strength": 1.5}),
        ("strength", True, "setting-not-number", {"setting": "strength", "found": True}),
        ("yaw_deg", "7", "setting-not-number", {"setting": "yaw_deg", "found": "'7'"}),
        ("yaw_deg", [7], "setting-not-number", {"setting": "yaw_deg", "found": "a list"}),
        ("yaw_deg", 10**400, "setting-not-finite", {"setting": "yaw_deg"}),
        ("is_on", 1, "setting-not-boolean", {"setting": "is_on", "found": 1}),
        ("colour", 1, "setting-unknown", {"setting": "colour"}),
    ],
)
def test_a_setting_that_is_refused_has_its_reason(
    setting: str, value: object, code: str, fields: dict[str, object]
) -> None:
    with refusal(UsageError, code, **fields):
        changed(Settings(), {setting: value})


def test_a_file_cannot_be_calibrated_with(blind: str) -> None:
    got = answer(blind, "/calibrate", method="POST", body={})
    assert (got.status, b"camera" in got.content) == (400, True)
    state = frame(blind)[0]["calibration"]
    assert (state["path"], state["running"], state["offset_deg"]) == (None, False, None)


def test_calibration_takes_no_arguments(blind: str) -> None:
    got = answer(blind, "/calibrate", method="POST", body={"at": "lens"})
    assert (got.status, b"'at'" in got.content) == (400, True)


def test_a_calibration_that_is_begun_again_starts_again(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrating, "FEWEST_FRAMES", 3)
    found: list[Profile] = []
    page = calibration.PageCalibration(
        bundle, path=tmp_path / "me.json", profile=None, found=found.append
    )
    assert page.redirector is None
    page.begin()
    first = page.redirector
    assert first is not None
    page.see(first.process(portrait, time_s=0.0), 0.0, by=first)
    page.begin()
    second = page.redirector
    assert second is not None
    for n in range(12):
        time_s = 0.1 + 0.6 * n
        page.see(first.process(portrait, time_s=time_s), time_s, by=first)  # Too late.
        page.see(second.process(portrait, time_s=time_s), time_s, by=second)
        state = page.state()
        assert state.running == (n < 11)
        assert 0 <= state.share <= 1
    # 1.5 s of 7.2 s are left to the eyes.
    assert [profile.frames for profile in found] == [9]
    assert page.redirector is None
    assert state.offset_deg == found[0].correction.offset_deg
    assert state.error_deg is not None
    assert state.error_deg[1] < state.error_deg[0]


def test_a_profile_that_cannot_be_written_is_a_failure(
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrating, "FEWEST_FRAMES", 3)
    monkeypatch.setattr(calibrating, "DURATION_S", 1.0)
    (tmp_path / "file").touch()
    found: list[Profile] = []
    page = calibration.PageCalibration(
        bundle, path=tmp_path / "file" / "me.json", profile=None, found=found.append
    )
    page.begin()
    by = page.redirector
    assert by is not None
    for n in range(12):
        page.see(by.process(portrait, time_s=0.3 * n), 0.3 * n, by=by)
    assert "cannot be written" in (page.state().failure or "")
    assert (found, page.state().offset_deg, page.state().running) == ([], None, False)


@pytest.mark.extended
def test_a_camera_that_is_lost_is_told_and_comes_back(
    scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    sitter = scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.media.live.sources._FIRST_WAIT_S", 0.05)
    bundle = SimpleNamespace(model=lambda name: None)
    with studio(bundle) as (_, url):  # type: ignore[arg-type]
        number = frame(url)[0]["number"]
        sitter.is_there = False
        ends_s = time.monotonic() + 5
        while (said := answer(url, f"/frame?after={number}")).status == 200:
            number = json.loads(said.headers["Frame-Facts"])["number"]
            assert time.monotonic() < ends_s
        source = json.loads(said.headers["Frame-Facts"])["source"]
        assert said.status == 204
        assert "somebody pulled its cable; retrying" in source["lost"]
        sitter.is_there = True
        assert frame(url, number)[0]["source"]["lost"] is None


def test_a_frame_that_fails_is_shown_as_it_came(
    blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **how: object) -> None:
        raise ZeroDivisionError("somewhere within")

    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", fail)
    facts, before, after = frame_where(blind, lambda facts: facts["failure"] is not None)
    assert facts["failure"] == "ZeroDivisionError: somewhere within"
    np.testing.assert_array_equal(before, after)


def test_the_newest_frame_wins_and_nothing_is_done_unseen() -> None:
    now = SimpleNamespace(s=0.0)
    latest: Mailbox[str] = Mailbox(clock=lambda: now.s)
    assert not latest.is_watched
    assert latest.after(0, patience_s=0) is None
    for item in "abc":
        latest.put(item)
    assert latest.after(0, patience_s=0) == (3, "c")
    assert latest.after(3, patience_s=0.01) is None
    # A number from a server that was there before.
    assert latest.after(700, patience_s=0) == (3, "c")
    now.s = 2.0
    assert latest.is_watched
    now.s = 4.0
    assert not latest.is_watched


@pytest.mark.parametrize("shape", [(40, 61), (33, 64), (700, 1400)])
def test_halves_that_are_equal_are_equal_on_the_page(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    pair = encode_pair(picture, picture)
    both = cv2.imdecode(np.frombuffer(pair.jpeg, np.uint8), cv2.IMREAD_COLOR)
    width, height = pair.size
    assert width == min(shape[1], WIDEST_PX)
    assert both.shape == (height, pair.after_x + width, 3)
    np.testing.assert_array_equal(both[:, :width], both[:, pair.after_x :])


def test_strength_and_switch_decide_what_after_is(
    bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    scripted(Sitter(portrait))
    with studio(bundle) as (_, url):
        frame_with(url, yaw_deg=14)
        _, before, after = frame_where(url, lambda facts: reasons(facts) == {None})
        changed_rows = np.flatnonzero((before != after).any(axis=(1, 2)))
        assert np.abs(before.astype(int) - after).max() > 40
        assert changed_rows[-1] - changed_rows[0] < 0.25 * len(before)
        for nothing in ({"strength": 0.0}, {"strength": 1.0, "is_on": False}):
            facts, before, after = frame_with(url, **nothing)
            np.testing.assert_array_equal(before, after)
            assert reasons(facts) == {"turned off"}
        _, before, after = frame_with(url, overlay=True)
        assert (before != after).any()
        assert set(facts["stages_ms"]) >= {"find faces", "redirect eyes", "compose", "encode"}


def test_the_page_names_no_other_place() -> None:
    folder = Path(calibration.__file__).with_name("page")
    assert {file for file, _ in PAGE.values()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        content = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in content, path.name

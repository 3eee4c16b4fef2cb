"""The studio: a real server, a real browser, and what its page shows and sets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from browser import browsing
from mggr_edge import calibrating
from mggr_edge.angles import Gaze
from mggr_edge.bundle import Bundle
from mggr_edge.cli import main
from mggr_edge.errors import MggrError, StreamError, UsageError
from mggr_edge.faces import FaceFinder
from mggr_edge.live.address import LiveAddress
from mggr_edge.live.picture_format import AS_IT_COMES
from mggr_edge.profile import read_profile
from mggr_edge.redirector import Redirector
from mggr_edge.studio import looks
from mggr_edge.studio.app import PAGE, studio_app
from mggr_edge.studio.latest import Latest
from mggr_edge.studio.run import run_studio
from mggr_edge.studio.server import PageServer
from mggr_edge.studio.session import Session, open_session
from mggr_edge.studio.settings import Settings, changed
from mggr_edge.studio.shown import WIDEST_PX, encode_pair
from ramps import smooth_picture
from scripted_source import CAMERA

pytest.importorskip("bottle")

ASIDE = Gaze(0.0, 14.0)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    try:
        return Bundle.open("default")
    except MggrError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def finder(bundle: Bundle) -> FaceFinder:
    """Looks at what the page shows; with interpreters of its own, for they take no two at once."""
    own = Bundle.open("default")
    models = {"detector": "face_detector", "mesh": "face_mesh", "iris": "iris"}
    return FaceFinder(**{name: own.model(model) for name, model in models.items()})


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """She looks into the lens."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    return cv2.resize(data.astronaut()[:280, 90:350], None, fx=2, fy=2)


@pytest.fixture(scope="module")
def one_browser() -> Iterator:
    with browsing() as driver:
        yield driver


@pytest.fixture
def browser(one_browser) -> Iterator:
    yield one_browser
    one_browser.get("about:blank")
    one_browser.get_log("browser")  # what one test left is not the next one's


class Sitter:
    """A camera before somebody who may be made to look elsewhere, or to unplug it."""

    def __init__(self, now: NDArray[np.uint8]) -> None:
        self.now, self.is_there = now, True

    def read(self) -> NDArray[np.uint8]:
        time.sleep(0.02)
        if not self.is_there:
            raise StreamError("the camera is lost: somebody pulled its cable")
        return self.now

    def close(self) -> None:
        pass


@contextmanager
def studio(
    bundle: Bundle, *, address: LiveAddress = CAMERA, profile_path: Path | None = None
) -> Iterator[tuple[Session, str]]:
    """A session, and the URL of its page."""
    session = Session(
        address,
        bundle,
        wanted=AS_IT_COMES,
        profile=None,
        profile_path=profile_path,
        stop=threading.Event(),
    )
    with (
        PageServer(0) as server,
        open_session(session),
        server.serving(studio_app(session)),
    ):
        yield session, server.url


def answer(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: object = None,
    **headers: str,
) -> SimpleNamespace:
    """Asks without a browser, so that every header is the test's own."""
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    if body is not None:
        names = {"Content-Type": "application/json", **names}
    connection.request(method, path, body=content, headers={"Host": host, **names})
    response = connection.getresponse()
    said = SimpleNamespace(
        status=response.status, headers=response.headers, content=response.read()
    )
    connection.close()
    return said


def frame(url: str, number: int = 0) -> tuple[dict, NDArray[np.uint8], NDArray[np.uint8]]:
    """What is known of the next frame, and both of its halves in RGB."""
    ends_s = time.monotonic() + 10
    while (said := answer(url, f"/frame?after={number}")).status != 200:
        assert time.monotonic() < ends_s
    facts = json.loads(said.headers["Frame-Facts"])
    both = cv2.imdecode(np.frombuffer(said.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    width = facts["size"][0]
    return facts, both[:, :width], both[:, facts["after_x"] :]


def frame_where(url: str, check: Callable[[dict], bool]) -> tuple:
    """The first frame of which that is known."""
    found = frame(url)
    for _ in range(100):
        if check(found[0]):
            return found
        found = frame(url, found[0]["number"])
    raise AssertionError(f"no such frame; the last one: {found[0]}")


def frame_with(url: str, **settings: object) -> tuple:
    """The first frame to which these settings were applied."""
    assert answer(url, "/settings", method="POST", body=settings).status == 200
    return frame_where(url, lambda facts: settings.items() <= facts["shown"].items())


def reasons(facts: dict) -> set[str | None]:
    """Why the eyes of the one face are left alone, as far as they are."""
    (face,) = facts["faces"]
    return {eye["reason"] for eye in face["eyes"]}


def soon(check: Callable[[], object], within_s: float = 8.0) -> None:
    ends_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < ends_s
        time.sleep(0.03)


# The server, asked without a browser.


@pytest.fixture
def blind(scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page without networks: nothing is found in its frames."""
    scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.watching.FaceWatcher.find", lambda *args, **how: ())
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
        ({"body": b"{"}, 400, "no JSON"),
        ({"body": [1]}, 400, "a JSON object"),
        ({"body": {"strength": 0.5, "pad": "x" * 5000}}, 413, "4096 bytes"),
        ({"body": {"strength": 1.5}}, 400, "strength is 1.5, expected 0 to 1"),
        ({"body": {"strength": True}}, 400, "strength is True, expected a number"),
        ({"body": {"yaw_deg": 31}}, 400, "yaw is 31 degrees, expected -30 to 30"),
        ({"body": b'{"pitch_deg": NaN}'}, 400, "expected a number"),
        ({"body": {"is_on": 1}}, 400, "is_on is 1, expected true or false"),
        ({"body": {"colour": 1}}, 400, "colour is no setting"),
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
    with pytest.raises(UsageError, match="pitch is -21 degrees"):
        changed(after, {"pitch_deg": -21})


def test_a_file_cannot_be_calibrated_with(blind: str) -> None:
    got = answer(blind, "/look", method="POST", body={"at": "lens"})
    assert (got.status, b"needs a camera" in got.content) == (400, True)


def test_a_camera_that_is_lost_is_told_and_comes_back(
    scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    sitter = scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.live.reconnecting._FIRST_WAIT_S", 0.05)
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
        assert "somebody pulled its cable; trying again until it is there" in source["lost"]
        sitter.is_there = True
        assert frame(url, number)[0]["source"]["lost"] is None


def test_a_frame_that_fails_is_shown_as_it_came(
    blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **how: object) -> None:
        raise ZeroDivisionError("somewhere within")

    monkeypatch.setattr("mggr_edge.watching.FaceWatcher.find", fail)
    facts, before, after = frame_where(blind, lambda facts: facts["failure"] is not None)
    assert facts["failure"] == "ZeroDivisionError: somewhere within"
    np.testing.assert_array_equal(before, after)


def test_the_newest_frame_wins_and_nothing_is_done_unseen() -> None:
    now = SimpleNamespace(s=0.0)
    latest: Latest[str] = Latest(clock=lambda: now.s)
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


# The page, in a browser.


def on_the_page(browser, script: str, *arguments: object):
    return browser.execute_script(f"return {script}", *arguments)


def text(browser, name: str) -> str:
    return on_the_page(browser, "document.getElementById(arguments[0]).textContent", name)


def canvas(browser) -> NDArray[np.uint8]:
    url = on_the_page(browser, "document.getElementById('canvas').toDataURL('image/png')")
    data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def irises(finder: FaceFinder, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[2, 2] how far the irises are from the middles of their eyes, in widths of the eye."""
    (face,) = finder.find(picture)
    places = [np.array(eye.iris_centre) - eye.corners.mean(axis=0) for eye in face.eyes]
    return np.array([place / eye.width_px for place, eye in zip(places, face.eyes, strict=True)])


EYES = """
const [x, y, width, height] = arguments;
const pen = document.getElementById("canvas").getContext("2d");
const seen = () => pen.getImageData(x, y, width, height).data;
const still = seen();
window.drag = {};
addEventListener("pointermove", (event) => {
  if (event.buttons) drag.begun ??= performance.now();
}, true);
(function look() {
  const now = seen();
  let sum = 0;
  for (let n = 0; n < now.length; n++) sum += Math.abs(now[n] - still[n]);
  if (drag.begun && sum / now.length > 2) drag.took_ms = performance.now() - drag.begun;
  else requestAnimationFrame(look);
})();
"""


@pytest.mark.processes
def test_dragging_a_face_moves_its_eyes_on_the_page(
    browser,
    bundle: Bundle,
    finder: FaceFinder,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    scripted(Sitter(portrait))
    with studio(bundle) as (_, url):
        browser.get(url)
        soon(lambda: "redirected" in text(browser, "eyes"))
        before = irises(finder, canvas(browser))
        (face,) = finder.find(portrait)
        outlines = np.concatenate([eye.outline for eye in face.eyes])
        low, high = outlines.min(0), outlines.max(0)
        browser.execute_script(EYES, *(int(v) for v in (*low, *(high - low))))
        ring = browser.find_element(By.CSS_SELECTOR, ".aim")
        width_px = on_the_page(browser, "document.querySelector('.face').clientWidth")
        hand = ActionChains(browser, duration=0)
        hand.click_and_hold(ring).move_by_offset(round(width_px * 14 / 25), 0).release().perform()
        soon(lambda: on_the_page(browser, "drag.took_ms"))
        assert on_the_page(browser, "drag.took_ms") < 500
        assert text(browser, "target") in ("13.5° right", "14° right", "14.5° right")

        def moved() -> NDArray[np.float64]:
            return irises(finder, canvas(browser)) - before

        soon(lambda: (moved()[:, 0] > 0.035).all())
        assert (np.abs(moved()[:, 1]) < 0.03).all()
        ActionChains(browser).double_click(ring).perform()
        soon(lambda: text(browser, "target") == "Into the camera")
        soon(lambda: (np.abs(moved()) < 0.02).all())


@pytest.mark.processes
def test_the_page_is_set_by_keys_shows_both_halves_and_asks_nobody_else(
    browser, bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    scripted(Sitter(portrait))
    with studio(bundle) as (session, url):
        browser.get(url)
        soon(lambda: "redirected" in text(browser, "eyes"))
        ring = browser.find_element(By.CSS_SELECTOR, ".aim")
        ring.send_keys(Keys.ARROW_RIGHT * 3, Keys.SHIFT, Keys.ARROW_UP)
        soon(lambda: session.settings.target == Gaze(5, 3))
        assert "5° up, 3° right" in ring.get_attribute("aria-label")
        browser.find_element(By.ID, "strength").send_keys(Keys.HOME)
        soon(lambda: session.settings.strength == 0.0)
        soon(lambda: "turned off" in text(browser, "eyes"))
        grip = browser.find_element(By.ID, "grip")
        grip.send_keys(Keys.END)
        assert grip.get_attribute("aria-valuenow") == "100"
        before = canvas(browser)
        grip.send_keys(Keys.HOME)
        np.testing.assert_array_equal(before, canvas(browser))
        browser.find_element(By.ID, "overlay").send_keys(Keys.SPACE)
        soon(lambda: (canvas(browser) != before).any())
        grip.send_keys(Keys.END)
        np.testing.assert_array_equal(before, canvas(browser))
        nameless = (
            "[...document.querySelectorAll('button, input, [tabindex]')].filter((one) => "
            "!(one.ariaLabel || one.labels?.[0]?.textContent || one.textContent).trim()).length"
        )
        assert on_the_page(browser, nameless) == 0
        asked = on_the_page(
            browser, "performance.getEntriesByType('resource').map((one) => one.name)"
        )
        assert len(asked) > 3
        assert all(one.startswith(url) for one in asked)
        assert not [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
        browser.set_window_size(500, 844)
        assert on_the_page(browser, "document.documentElement.scrollWidth <= innerWidth")
        browser.set_window_size(1280, 800)


def test_the_page_names_no_other_place() -> None:
    folder = Path(looks.__file__).with_name("page")
    assert {file for file, _ in PAGE.values()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        content = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in content, path.name


@pytest.mark.processes
def test_two_buttons_calibrate(
    browser,
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from selenium.webdriver.common.by import By

    monkeypatch.setattr(calibrating, "FRAMES", 6)
    monkeypatch.setattr(looks, "SETTLE_S", 0.1)
    aside = Redirector(bundle, target=ASIDE).process(portrait).frame
    sitter = scripted(Sitter(portrait))
    path = tmp_path / "new" / "me.json"
    with studio(bundle, profile_path=path) as (_, url):
        browser.get(url)
        soon(lambda: "redirected" in text(browser, "eyes"))
        browser.find_element(By.ID, "lens").click()
        soon(lambda: "Now look at the middle" in text(browser, "looks-said"))
        assert not path.exists()
        browser.find_element(By.ID, "screen").click()
        soon(lambda: "degrees apart, too little" in text(browser, "looks-said"))
        for button, seen in (("lens", portrait), ("screen", aside)):
            sitter.now = seen
            browser.find_element(By.ID, button).click()
            soon(lambda: "keep still" in text(browser, "looks-said"))
            soon(lambda: "keep still" not in text(browser, "looks-said"))
        soon(lambda: text(browser, "looks-said").startswith("Calibrated: "))
        found = read_profile(path, bundle.contract)
        assert found.screen.yaw_deg > 5
        # It is taken off from now on.
        sitter.now = portrait
        straight = Gaze(0, 0)
        assert found.offset.angle_to(straight) > 2.0
        soon(lambda: Gaze(*frame(url)[0]["faces"][0]["gaze_deg"]).angle_to(straight) < 1.0)


# The command.


def answers(port: int | None) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "me.png"), smooth_picture(48, 60))
    return tmp_path / "me.png"


def test_mistakes_are_one_line(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> str:
        result = CliRunner().invoke(main, ["studio", *map(str, arguments)])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        return result.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"error: port {port} is in use; name another" in refused(photo, "--port", port)
    assert "gone.mp4 does not exist" in refused("gone.mp4")
    assert "leave out --input-" in refused(photo, "--input-width", 640)
    monkeypatch.setitem(sys.modules, "bottle", None)
    assert refused(photo) == "error: bottle is not installed; run: pip install 'mggr-tf[studio]'\n"


def test_help_has_examples_and_signals_are_as_before(photo: Path) -> None:
    assert "Examples:\n    mggr-edge studio\n" in CliRunner().invoke(main, ["studio", "-h"]).output
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(MggrError, match="no-bundle"):
        run_studio(str(photo), model=str(photo.with_name("no-bundle")), port=0, say=print)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second(
    photo: Path, bundle: Bundle, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "mggr_edge", "studio", str(photo), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            url = next(line for line in process.stderr if line.startswith("open ")).split()[1]
            facts, before, _ = frame(url)
            assert facts["source"]["name"] == "me.png"
            assert before.shape == (48, 60, 3)
            told_s = time.monotonic()
            process.send_signal(number)
            soon(lambda: not answers(urlsplit(url).port))
            assert time.monotonic() - told_s < 1.0
            assert process.wait(10) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.processes
def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, contextlib\n"
        "from mggr_edge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['studio', '--help'])\n"
        "print([m for m in ('numpy', 'cv2', 'bottle', 'wsgiref') if m in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

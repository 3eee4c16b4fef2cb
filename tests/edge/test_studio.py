"""The studio's page in a real browser: what it shows, and what it sets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from browser import browsing
from mggr_edge.geometry.angles import Gaze
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs import calibration as calibrating
from mggr_edge.runs.profile import read_profile
from mggr_edge.tools.studio import calibration
from mggr_edge.vision.face_finder import FaceFinder
from studio_page import Sitter, frame, soon, studio

pytest.importorskip("bottle")


@pytest.fixture(scope="module")
def finder(bundle: Bundle) -> FaceFinder:
    """Looks at what the page shows; with interpreters of its own, for they take no two at once."""
    own = Bundle.open("default")
    models = {"detector": "face_detector", "mesh": "face_mesh", "iris": "iris"}
    return FaceFinder(**{name: own.model(model) for name, model in models.items()})


@pytest.fixture(scope="module")
def one_browser() -> Iterator:
    with browsing() as driver:
        yield driver


@pytest.fixture
def browser(one_browser) -> Iterator:
    yield one_browser
    one_browser.get("about:blank")
    one_browser.get_log("browser")  # what one test left is not the next one's


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


def is_processed(browser) -> bool:
    """Whether the page shows a face whose eyes are redirected, or already look at the target."""
    shown: str = text(browser, "eyes")
    return "redirected" in shown or "on target" in shown


@pytest.mark.extended
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
        soon(lambda: is_processed(browser))
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
        assert text(browser, "target") in ("13.5° right", "14° right", "14.5° right")

        def moved() -> NDArray[np.float64]:
            return irises(finder, canvas(browser)) - before

        soon(lambda: (moved()[:, 0] > 0.035).all())
        assert (np.abs(moved()[:, 1]) < 0.03).all()
        ActionChains(browser).double_click(ring).perform()
        soon(lambda: text(browser, "target") == "Into the camera")
        soon(lambda: (np.abs(moved()) < 0.02).all())


@pytest.mark.extended
@pytest.mark.processes
def test_the_page_is_set_by_keys_shows_both_halves_and_asks_nobody_else(
    browser, bundle: Bundle, portrait: NDArray[np.uint8], scripted: Callable[[Sitter], Sitter]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    scripted(Sitter(portrait))
    with studio(bundle) as (session, url):
        browser.get(url)
        soon(lambda: is_processed(browser))
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
        page, _, token = url.partition("?token=")
        assert on_the_page(browser, "location.href") == page
        assert all(one.startswith(page) and token not in one for one in asked)
        assert on_the_page(browser, "document.cookie") == ""
        assert not [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
        browser.set_window_size(500, 844)
        assert on_the_page(browser, "document.documentElement.scrollWidth <= innerWidth")
        browser.set_window_size(1280, 800)


@pytest.mark.extended
@pytest.mark.processes
def test_one_button_calibrates(
    browser,
    bundle: Bundle,
    portrait: NDArray[np.uint8],
    scripted: Callable[[Sitter], Sitter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from selenium.webdriver.common.by import By

    monkeypatch.setattr(calibrating, "DURATION_S", 0.5)
    monkeypatch.setattr(calibrating, "FEWEST_FRAMES", 6)
    monkeypatch.setattr(calibrating, "PATIENCE_S", 1.0)
    monkeypatch.setattr(calibration, "SETTLE_S", 0.1)
    sitter = scripted(Sitter(np.full_like(portrait, 90)))
    path = tmp_path / "new" / "me.json"

    def is_shown(name: str) -> bool:
        return on_the_page(browser, "!document.getElementById(arguments[0]).hidden", name)

    with studio(bundle, profile_path=path) as (_, url):
        browser.get(url)
        soon(lambda: "No face" in text(browser, "eyes"))
        button = browser.find_element(By.ID, "calibrate")
        button.click()  # Nobody is there.
        soon(lambda: is_shown("calibration-progress"))
        assert not button.is_enabled()
        soon(lambda: "frames show open eyes" in text(browser, "calibration-said"))
        assert not is_shown("calibration-progress")
        assert not path.exists()
        sitter.now = portrait
        soon(lambda: is_processed(browser))
        button.click()
        soon(lambda: text(browser, "calibration-said").startswith("Calibrated: "))
        found = read_profile(path, bundle.contract)
        assert found.frames >= 6
        assert is_shown("calibration-note")  # A head that did not turn.
        assert f"{found.correction.offset_deg[0]:.1f}" != "0.0"
        # It is subtracted from now on.
        straight = Gaze(0, 0)
        error_deg = Gaze(*found.correction.offset_deg).angle_to(straight)
        assert error_deg > 0.5
        soon(
            lambda: (
                Gaze(*frame(url)[0]["faces"][0]["gaze_deg"]).angle_to(straight) < 0.5 * error_deg
            )
        )

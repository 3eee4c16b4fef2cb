"""The studio's token: which requests are answered, and how a browser gets it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from browser import browsing
from mggr_edge.tools.studio import access
from mggr_edge.tools.studio.access import PUBLIC, cookie_name
from mggr_edge.tools.studio.server import PAGE, PageServer
from ramps import smooth_picture
from studio_page import Sitter, answer, cookie_of, frame, soon, studio

pytest.importorskip("bottle")

SECRET = (
    "/",
    "/frame",
    "/frame?after=0",
    "/settings",
    "/calibrate",
    "/nothing",
    "//frame",
    "/studio.js/",
)


@pytest.fixture
def blind(scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page without networks: nothing is found in its frames."""
    scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.pipeline.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", lambda *args, **how: ())
    with studio(SimpleNamespace(model=lambda name: None)) as (_, url):  # type: ignore[arg-type]
        yield url


def token_of(url: str) -> str:
    return url.partition("?token=")[2]


def test_only_the_package_s_own_files_are_answered_without_a_token(blind: str) -> None:
    assert set(PAGE) - {"/"} | {"/favicon.ico"} == PUBLIC
    for path in PUBLIC:
        assert answer(blind, path, Cookie="").status in (200, 204)
    for path in SECRET:
        for method in ("GET", "HEAD", "POST", "PUT"):
            said = answer(blind, path, method=method, Cookie="")
            assert said.status == 403, (method, path)
            assert "Frame-Facts" not in said.headers
            assert "Set-Cookie" not in said.headers
            assert "default-src 'none'" in said.headers["Content-Security-Policy"]


def test_settings_and_calibrations_cannot_be_posted_without_a_token(blind: str) -> None:
    before = frame(blind)[0]["settings"]
    asked = {"strength": 0.25}
    assert answer(blind, "/settings", method="POST", body=asked, Cookie="").status == 403
    assert answer(blind, "/calibrate", method="POST", body={}, Cookie="").status == 403
    assert frame(blind)[0]["settings"] == before
    assert answer(blind, "/settings", method="POST", body=asked).status == 200


def test_another_token_is_none(blind: str) -> None:
    token, port = token_of(blind), urlsplit(blind).port
    others = ["", token[:-1], f"{token}x", token.swapcase(), secrets.token_urlsafe(32), "\xff", "é"]
    for other in others:
        cookie = f"{cookie_name(port)}={other}".encode().decode("latin-1")
        assert answer(blind, "/frame", Cookie=cookie).status == 403
    for query in ("token=", "token=%ff", "token=x&token=y", "Token=" + token, "token[]=" + token):
        assert answer(blind, f"/frame?{query}", Cookie="").status == 403
    for cookie in (f"{cookie_name(port + 1)}={token}", f"x{cookie_of(blind)}", token):
        assert answer(blind, "/frame", Cookie=cookie).status == 403
    assert answer(blind, "/frame", Cookie=f'a="b"; ;=; {cookie_of(blind)}; c=d').status == 200


def test_the_printed_address_sets_a_cookie_and_leaves_the_token_out(blind: str) -> None:
    said = answer(blind, f"/?token={token_of(blind)}", Cookie="")
    assert (said.status, said.headers["Location"], said.content) == (303, "/", b"")
    value, *attributes = said.headers["Set-Cookie"].split("; ")
    assert value == cookie_of(blind)
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert said.headers["Referrer-Policy"] == "no-referrer"
    page = answer(blind, "/", Cookie=value)
    assert page.status == 200
    assert token_of(blind) not in page.content.decode()
    # For programs, which keep no cookies.
    assert answer(blind, f"/frame?token={token_of(blind)}", Cookie="").status == 200


def test_the_token_opens_nothing_to_other_pages(blind: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        for path in ("/frame", f"/?token={token_of(blind)}"):
            said = answer(blind, path, **headers)
            assert (said.status, said.headers["Set-Cookie"]) == (403, None)


def test_tokens_are_random_and_compared_in_constant_time(
    blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PageServer(0) as one, PageServer(0) as other:
        assert one.token != other.token
        assert len(one.token) >= 43  # 256 bits
    compared = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append((given, token))
        return secrets.compare_digest(given, token)

    monkeypatch.setattr(access, "secrets", SimpleNamespace(compare_digest=compare))
    assert answer(blind, "/frame").status == 200
    assert compared == [(token_of(blind).encode(),) * 2]


@pytest.mark.extended
@pytest.mark.processes
def test_a_browser_needs_the_printed_address_and_says_when_it_is_stale(
    scripted: Callable[[Sitter], Sitter], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.pipeline.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", lambda *args, **how: ())
    bundle = SimpleNamespace(model=lambda name: None)

    def text(browser, script: str) -> str:
        return browser.execute_script(f"return {script}") or ""

    with browsing() as browser:
        with studio(bundle) as (session, url):  # type: ignore[arg-type]
            page = url.partition("?")[0]
            browser.get(page)
            assert "?token=" in text(browser, "document.body.textContent")
            browser.get(url)
            soon(lambda: text(browser, "document.getElementById('eyes').textContent"))
            assert text(browser, "location.href") == page
            browser.find_element("id", "overlay").click()
            soon(lambda: session.settings.overlay)
            browser.refresh()  # The cookie holds without the address.
            soon(lambda: text(browser, "document.getElementById('overlay').checked"))
            port = urlsplit(url).port
        # Another studio at the same port has another token.
        monkeypatch.setattr("studio_page.PageServer", lambda _: PageServer(port or 0))
        with studio(bundle) as (_, again):  # type: ignore[arg-type]
            notice = "document.getElementById('notice').textContent"
            soon(lambda: "Open the address that it prints" in text(browser, notice))
            browser.get(again)
            soon(lambda: text(browser, "document.getElementById('eyes').textContent"))


def test_the_cookie_s_name_is_of_one_port() -> None:
    assert cookie_name(8080) != cookie_name(8081)


def test_the_page_s_files_are_those_that_are_public() -> None:
    folder = Path(access.__file__).with_name("page")
    assert {f"/{path.name}" for path in folder.iterdir()} >= PUBLIC - {"/favicon.ico"}

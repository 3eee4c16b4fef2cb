"""Malformed requests: each is refused with the reason, and changes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggr_edge.errors import UsageError
from mggr_edge.tools.studio import server
from mggr_edge.tools.studio.session import Settings, changed
from ramps import smooth_picture
from studio_page import Sitter, answer, cookie_of, frame, studio

pytest.importorskip("bottle")


@pytest.fixture
def blind(
    scripted: Callable[[Sitter], Sitter],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[str]:
    """A page without networks, which prints nothing whatever it is asked."""
    scripted(Sitter(smooth_picture(48, 60)))
    monkeypatch.setattr("mggr_edge.pipeline.redirector.FaceFinder", lambda **models: None)
    monkeypatch.setattr("mggr_edge.pipeline.tracks.FaceTracker.find", lambda *args, **how: ())
    with studio(SimpleNamespace(model=lambda name: None)) as (_, url):  # type: ignore[arg-type]
        yield url
        assert frame(url)[0]["settings"] == vars(Settings())
    assert capsys.readouterr().err == ""


def nested(depth: int, name: str = "strength") -> bytes:
    return f'{{"{name}": {"[" * depth}{"]" * depth}}}'.encode()


BODIES = {
    "empty": b"",
    "no JSON": b"strength=1",
    "cut short": b'{"strength": 0.5',
    "two values": b'{"strength": 0.5}{}',
    "no UTF-8": b'{"strength": "\xff\xfe"}',
    "UTF-16": '{"strength": 0.5}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"strength": 0.5}',
    "null bytes": bytes(100),
    "NaN": b'{"strength": NaN}',
    "Infinity": b'{"yaw_deg": Infinity}',
    "-Infinity": b'{"yaw_deg": -Infinity}',
    "a huge exponent": b'{"yaw_deg": 1e400}',
    "400 digits": b'{"yaw_deg": ' + b"9" * 400 + b"}",
    "-400 digits": b'{"yaw_deg": -' + b"9" * 400 + b"}",
    "4000 digits": b'{"x": ' + b"9" * 4000 + b"}",
    "a key twice": b'{"strength": 0.5, "strength": 0.6}',
    "an empty key": b'{"": 1}',
    "a lone surrogate": b'{"\\ud800": 1}',
    "a lone surrogate's value": b'{"strength": "\\ud800"}',
    "null": b"null",
    "a number": b"1",
    "a text": b'"strength"',
    "a list": b'[{"strength": 0.5}]',
    "a text for a number": b'{"strength": "0.5"}',
    "null for a number": b'{"strength": null}',
    "an object for a number": b'{"strength": {}}',
    "a number for a switch": b'{"is_on": 1}',
    "a text for a switch": b'{"overlay": "true"}',
    "one good and one bad": b'{"strength": 0.5, "yaw_deg": 90}',
    **{f"{depth} deep": nested(depth) for depth in (50, 300, 700, 900, 950, 980, 1000, 2000)},
    **{f"{depth} deep, a word": nested(depth, "at") for depth in (50, 700, 950, 1000, 2000)},
    "objects in objects": b'{"a":' * 600 + b"1" + b"}" * 600,
}


@pytest.mark.parametrize("path", ["/settings", "/calibrate"])
def test_bodies_that_cannot_be_read_are_refused_with_400(blind: str, path: str) -> None:
    for name, body in BODIES.items():
        said = answer(blind, path, method="POST", body=body)
        assert said.status == 400, (name, said.status)
        error = json.loads(said.content)["error"]
        assert 0 < len(error) < 4400, name


@pytest.mark.parametrize("size", [4097, 200_000, 10_000_000])
@pytest.mark.parametrize("cookie", [None, ""], ids=["with a token", "without"])
def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(
    blind: str, size: int, cookie: str | None
) -> None:
    body = b'{"strength": 0.5, "pad": "' + b"x" * size
    headers = {} if cookie is None else {"Cookie": cookie}
    said = answer(blind, "/settings", method="POST", body=body, **headers)
    assert said.status == (413 if cookie is None else 403)


def raw(url: str, request: str) -> int:
    """The status of the answer to bytes that no client library would send."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        head = f"{request}\r\nHost: {where.netloc}\r\nCookie: {cookie_of(url)}\r\n"
        connection.sendall((head + "Content-Type: application/json\r\n\r\n").encode("latin-1"))
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 411),
        ("\r\nTransfer-Encoding: chunked", 411),
        ("\r\nContent-Length: -5", 400),
        ("\r\nContent-Length: many", 400),
        ("\r\nContent-Length: 1_0", 400),
        ("\r\nContent-Length: \xb2", 400),
        ("\r\nContent-Length: 0", 400),
        ("\r\nContent-Length: 99999999999", 413),
        ("\r\nContent-Length: " + "9" * 5000, 413),
    ],
)
def test_lengths_that_are_none_are_refused(blind: str, header: str, status: int) -> None:
    assert raw(blind, f"POST /settings HTTP/1.1{header}") == status


def test_a_body_that_does_not_come_is_given_up(blind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._Quiet, "timeout", 0.2)
    assert raw(blind, "POST /settings HTTP/1.1\r\nContent-Length: 20") == 408


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "²", "%ff", "%00", "9" * 5000, "0" * 5000])
def test_any_number_of_a_frame_is_answered(blind: str, after: str) -> None:
    if after == "²":
        after = "%C2%B2"
    assert answer(blind, f"/frame?after={after}").status == 200
    assert answer(blind, f"/frame?{after}&after={after}&token=%ff").status == 200


JSON = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=9)),
    st.lists(st.floats(), max_size=1),
    st.dictionaries(st.text(max_size=1), st.floats(), max_size=1),
)
NAMES = st.sampled_from(sorted(vars(Settings()))) | st.text(max_size=9)


@given(st.dictionaries(NAMES, JSON, max_size=3))
def test_settings_are_changed_within_their_ranges_or_refused(asked: dict) -> None:
    try:
        after = changed(Settings(), asked)
    except UsageError:
        return
    assert all(type(value) is type(vars(Settings())[name]) for name, value in vars(after).items())
    assert abs(after.pitch_deg) <= 20
    assert abs(after.yaw_deg) <= 30
    assert 0 <= after.strength <= 1
    assert np.isfinite([after.pitch_deg, after.yaw_deg, after.strength]).all()

"""A studio within a test's own process, asked without a browser."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from mggr_edge.errors import StreamError
from mggr_edge.media.live.address import ANY_FORMAT, LiveAddress
from mggr_edge.models.bundle import Bundle
from mggr_edge.tools.studio.access import PARAMETER, cookie_name
from mggr_edge.tools.studio.server import PageServer, studio_app
from mggr_edge.tools.studio.session import Session, open_session
from scripted_source import CAMERA


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
        camera_format=ANY_FORMAT,
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
    """Asks without a browser, so that every header is the test's own.

    The cookie of the printed URL is sent; `Cookie=""` leaves it out.
    """
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=10)
    names = {"Cookie": cookie_of(url)}
    names |= {name.replace("_", "-"): value for name, value in headers.items()}
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


def cookie_of(url: str) -> str:
    """As a browser sends it that opened the printed URL."""
    (token,) = parse_qs(urlsplit(url).query)[PARAMETER]
    return f"{cookie_name(urlsplit(url).port or 80)}={token}"


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

"""What the page asks for, and what it gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from types import ModuleType
from typing import Any

from mggr_edge.common.schema import read_json
from mggr_edge.errors import MissingPackageError, UsageError
from mggr_edge.tools.studio.access import Application
from mggr_edge.tools.studio.session import Session

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/studio.css": ("studio.css", "text/css; charset=utf-8"),
    "/studio.js": ("studio.js", "text/javascript; charset=utf-8"),
}
"""Address -> (file, type): the whole page, and all of it our own."""

FACTS = "Frame-Facts"
"""The header that says what is known of a frame, so that both arrive together."""

_PATIENCE_S = 1.0
"""How long a request for a frame waits; the facts without one are news too."""

_MOST_BYTES = 4096
_MOST_DIGITS = 18


def import_bottle() -> ModuleType:
    """Bottle, which the page is served by.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import bottle
    except ImportError as error:
        raise MissingPackageError("bottle", "studio") from error
    return bottle


def studio_app(session: Session) -> Application:
    """The page's server side.

    `GET /frame?after=N` waits for a frame other than number N: 200 with a JPEG, or 204 after a
    second without one. `POST /settings` takes settings, `POST /calibrate` takes `{}` and begins a
    calibration; both take JSON, and answer 400 with `{"error": ...}` to what they cannot do.
    Settings are answered with `{"revision": ...}`, by which the page tells newer facts from older
    ones.

    Args:
        session: what is shown and steered.

    Raises:
        MissingPackageError: bottle is not installed.
    """
    bottle = import_bottle()
    app = bottle.Bottle()
    folder = resources.files("mggr_edge.tools.studio") / "page"

    def serve(content: bytes, kind: str) -> Any:
        return lambda: bottle.HTTPResponse(content, headers={"Content-Type": kind})

    for address, (file, kind) in PAGE.items():
        app.get(address, callback=serve((folder / file).read_bytes(), kind))

    @app.get("/favicon.ico")
    def no_icon() -> Any:
        return bottle.HTTPResponse(status=204)

    @app.get("/frame")
    def frame() -> Any:
        number = _whole_number(bottle.request.query.get("after", ""))
        shown = session.shown(number or 0, patience_s=_PATIENCE_S)
        headers = {FACTS: json.dumps(shown.facts)}
        if shown.jpeg is None:
            return bottle.HTTPResponse(status=204, headers=headers)
        return bottle.HTTPResponse(shown.jpeg, headers={**headers, "Content-Type": "image/jpeg"})

    @app.post("/settings")
    def settings() -> Any:
        return _done(bottle, lambda asked: {"revision": session.set(asked)})

    @app.post("/calibrate")
    def calibrate() -> Any:
        def begin(asked: dict[str, Any]) -> dict[str, Any]:
            if asked:
                raise UsageError(f"send an empty object, got {', '.join(map(repr, asked))[:60]}")
            session.calibration.begin()
            return {}

        return _done(bottle, begin)

    return app


def _done(bottle: ModuleType, do: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Does what a POST asks for, and answers with what comes of it."""
    request = bottle.request
    if request.content_type.split(";")[0].strip().lower() != "application/json":
        return _answer(bottle, 415, {"error": "send application/json"})
    length = request.environ.get("CONTENT_LENGTH", "")
    if not length:
        return _answer(bottle, 411, {"error": "send the header Content-Length"})
    size = _whole_number(length)
    if size is None:
        return _answer(bottle, 400, {"error": f"Content-Length is {length[:60]!r}, no size"})
    if size > _MOST_BYTES:
        return _answer(bottle, 413, {"error": f"send 1 to {_MOST_BYTES} bytes"})
    try:
        asked = read_json(request.environ["wsgi.input"].read(size).decode("utf-8"))
    except TimeoutError:
        return _answer(bottle, 408, {"error": f"{size} bytes were announced and did not come"})
    except ValueError as error:
        return _answer(bottle, 400, {"error": f"no JSON: {error}"})
    if not isinstance(asked, dict):
        return _answer(bottle, 400, {"error": "send a JSON object"})
    try:
        return _answer(bottle, 200, do(asked))
    except UsageError as error:
        return _answer(bottle, 400, {"error": str(error)})


def _whole_number(text: str) -> int | None:
    """A number of ASCII digits alone; None for any other text. Long ones are large, not exact."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _answer(bottle: ModuleType, status: int, content: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    return bottle.HTTPResponse(json.dumps(content), status, headers=headers)

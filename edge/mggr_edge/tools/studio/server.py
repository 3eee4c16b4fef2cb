"""`mggr-edge studio`: its page, its requests, and its server on this machine alone."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mggr_edge.common.addresses import file_to_write
from mggr_edge.common.folders import NO_HOME
from mggr_edge.common.process import stopped_by_signals
from mggr_edge.common.schema import read_json
from mggr_edge.errors import MissingPackageError, StreamError, UsageError
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.file_playback import FOR_EVER, shown_file
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.options import SourceOptions
from mggr_edge.runs.profile import NO_PROFILE, Profile, chosen_profile, profile_path, read_profile
from mggr_edge.tools.studio.access import (
    NAMES,
    PARAMETER,
    Application,
    OwnPageOnly,
    TokenOnly,
    new_token,
)
from mggr_edge.tools.studio.session import Session, open_session

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


_LOOK_S = 0.1
"""How often the server looks whether it shall end."""

_SILENT_S = 10.0
"""A connection that says nothing for so long is closed."""

_LINGER_S = 1.0
_MOST_UNREAD_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
"""Of what is read after an answer: for so long without a byte, so many bytes, and at once."""


class _Quiet(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: there is a request for every frame, and addresses may hold the token."""

    def finish(self) -> None:
        """Reads what is left of a refused request, so that its sender gets the answer.

        A connection that is closed with unread bytes is reset, and the answer is lost.
        """
        headers = getattr(self, "headers", None)
        if headers is not None and "Content-Length" in headers:
            try:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(_LINGER_S)
                left = _MOST_UNREAD_BYTES
                while left > 0 and (chunk := self.connection.recv(_CHUNK_BYTES)):
                    left -= len(chunk)
            except OSError:
                pass  # The client is gone or silent, and does not read the answer.
        super().finish()


class PageServer(ThreadingMixIn, WSGIServer):
    """Listens from the moment it is made; answers once it serves.

    Attributes:
        token: the secret that requests need; see `access`.

    Args:
        port: to listen on; 0 for any that is free.

    Raises:
        StreamError: the port is in use, or not for this user.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        self.token = new_token()
        try:
            super().__init__((NAMES[0], port), _Quiet)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            raise StreamError(f"port {port} {reason}; name another one: --port PORT") from error

    def server_bind(self) -> None:
        """Binds, without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = NAMES[0], self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that is closed while it is answered is nobody's fault."""

    @property
    def url(self) -> str:
        """Address of the page, with the token: print it for the user, and nowhere else."""
        return f"http://{NAMES[0]}:{self.server_port}/?{PARAMETER}={self.token}"

    @contextmanager
    def serving(self, application: Application) -> Iterator[None]:
        """Serves requests that carry the token, in a thread, for the length of the context."""
        for_user = TokenOnly(application, self.token, self.server_port)
        self.set_app(OwnPageOnly(for_user, self.server_port))
        threading.Thread(
            target=self.serve_forever, args=(_LOOK_S,), name="pages", daemon=True
        ).start()
        try:
            yield
        finally:
            self.shutdown()


def run_studio(
    source: str,
    options: SourceOptions,
    *,
    port: int = 8080,
    notify: Callable[[str], None],
) -> None:
    """Serves the page until SIGINT or SIGTERM comes.

    Args:
        source: a camera, a stream, a video file or a picture.
        options: of the source. Calibrating writes the profile that they name.
        port: on 127.0.0.1; 0 for any that is free.
        notify: takes where the page is, and which profile is used.

    Raises:
        MissingPackageError: bottle is not installed, or what the source is read with.
        StreamError: the port is in use, or no such file.
        UsageError: no source, or no profile of this model.
        BundleError: see `Bundle.open`.
    """
    # Mistakes first: models take a moment to load.
    import_bottle()
    address = _address(source, options)
    profile = options.profile
    written = _written_profile(address, profile, notify)
    stop = threading.Event()
    with stopped_by_signals(stop), PageServer(port) as server, Bundle.open(options.model) as bundle:
        known = _profile(address, profile, bundle)
        if known is not None:
            notify(
                f"with the profile {profile_path(profile)}; --profile {NO_PROFILE} leaves it out"
            )
        session = Session(
            address,
            bundle,
            camera_format=options.camera_format,
            profile=known,
            profile_path=written,
            stop=stop,
            notify=notify,
        )
        with open_session(session), server.serving(studio_app(session)):
            notify(f"open {server.url} in a browser on this machine; Ctrl-C ends it")
            # Again and again: a signal that another thread receives does not wake this one.
            while not session.stop.wait(_LOOK_S):
                pass


def is_camera(address: LiveAddress) -> bool:
    """Whether somebody may sit before it."""
    return address.is_own_camera or address.scheme == "rtsp"


def _address(source: str, options: SourceOptions) -> LiveAddress:
    address = live_address(source)
    options.check_source(source, address)
    return address or shown_file(source, loops=FOR_EVER)


def _written_profile(
    address: LiveAddress, named: str | None, notify: Callable[[str], None]
) -> Path | None:
    """The file that calibrating writes; None where there is nobody or no place for it."""
    if not is_camera(address):
        return None
    if named not in (None, NO_PROFILE):
        return file_to_write("--profile", str(named))
    path = profile_path(named)
    if path is None:
        notify(f"calibrating is not possible, {NO_HOME}; set HOME, or name --profile FILE")
    return path


def _profile(address: LiveAddress, named: str | None, bundle: Bundle) -> Profile | None:
    """What calibrating found; with a camera, it writes a file that is not there yet."""
    path = chosen_profile(named, own_camera=address.is_own_camera)
    if path is None or (is_camera(address) and not path.exists()):
        return None
    return read_profile(path, bundle.contract)

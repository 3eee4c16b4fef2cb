"""Serve the page of `mggr-edge studio` on 127.0.0.1, and handle the requests of the page."""

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
"""Path -> (file, content type) of each file of the page. The page uses no files of other sites."""

FACTS = "Frame-Facts"
"""Name of an HTTP header. In a response with a frame, this header contains the facts: values about
the frame and the session."""

_PATIENCE_S = 1.0
"""Time in seconds for which a request waits for a frame. After this time, the response contains
only the facts of the session."""

_MOST_BYTES = 4096
_MOST_DIGITS = 18


def import_bottle() -> ModuleType:
    """Import bottle, the package that serves the page.

    Raises:
        MissingPackageError: bottle is not installed.
    """
    try:
        import bottle
    except ImportError as error:
        raise MissingPackageError("bottle", "studio") from error
    return bottle


def studio_app(session: Session) -> Application:
    """Return the WSGI application of the page.

    The application handles these requests:

    - `GET /frame?after=N` waits for a frame whose number is not N. The status is 200 with a JPEG,
      or 204 if no such frame arrives within a second.
    - `POST /settings` changes settings. The response is `{"revision": ...}`. With this number, the
      page ignores facts that have older settings.
    - `POST /calibrate` with the body `{}` starts a calibration.

    The body of a POST request is JSON. The response to an invalid POST request has an error status,
    usually 400, and contains `{"error": ...}`.

    Args:
        session: session that the page shows and controls.

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
                keys = ", ".join(map(repr, asked))[:60]
                raise UsageError(
                    f"expected an empty JSON object, got the keys {keys}",
                    code="calibration-with-arguments",
                    keys=keys,
                )
            session.calibration.begin()
            return {}

        return _done(bottle, begin)

    return app


def _done(bottle: ModuleType, do: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Execute a POST request, and return a response with the result."""
    request = bottle.request
    if request.content_type.split(";")[0].strip().lower() != "application/json":
        return _answer(bottle, 415, {"error": "the Content-Type must be application/json"})
    length = request.environ.get("CONTENT_LENGTH", "")
    if not length:
        return _answer(bottle, 411, {"error": "the header Content-Length is missing"})
    size = _whole_number(length)
    if size is None:
        reason = f"Content-Length is {length[:60]!r}, expected a number of bytes"
        return _answer(bottle, 400, {"error": reason})
    if size > _MOST_BYTES:
        return _answer(bottle, 413, {"error": f"the body exceeds {_MOST_BYTES} bytes"})
    try:
        asked = read_json(request.environ["wsgi.input"].read(size).decode("utf-8"))
    except TimeoutError:
        reason = f"timeout: Content-Length is {size}, but fewer bytes arrived"
        return _answer(bottle, 408, {"error": reason})
    except ValueError as error:
        return _answer(bottle, 400, {"error": f"not valid JSON: {error}"})
    if not isinstance(asked, dict):
        return _answer(bottle, 400, {"error": "expected a JSON object"})
    try:
        return _answer(bottle, 200, do(asked))
    except UsageError as error:
        return _answer(bottle, 400, {"error": str(error)})


def _whole_number(text: str) -> int | None:
    """Return the number in a text that has only ASCII digits, or `None` for any other text.

    A number with more than `_MOST_DIGITS` digits is returned as 10**_MOST_DIGITS.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _answer(bottle: ModuleType, status: int, content: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    return bottle.HTTPResponse(json.dumps(content), status, headers=headers)


_LOOK_S = 0.1
"""Interval in seconds at which the server checks whether it must stop."""

_SILENT_S = 10.0
"""Time in seconds without data after which a connection is closed."""

_LINGER_S = 1.0
_MOST_UNREAD_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
"""Limits for reading the rest of a request: seconds without data, total bytes, and bytes per
read."""


class _Quiet(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: there are many requests, and their addresses may contain the token."""

    def finish(self) -> None:
        """Read the rest of a rejected request. Otherwise the client may not receive the response.

        If the server closes a connection with unread bytes, the connection is reset and the
        response is lost.
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
                pass  # The client does not read the response.
        super().finish()


class PageServer(ThreadingMixIn, WSGIServer):
    """HTTP server of the page.

    The server listens from its creation on, but it responds only inside of the context `serving`.

    Attributes:
        token: secret that requests must contain; see the module `access`.

    Args:
        port: port to listen on; 0 selects a free port.

    Raises:
        StreamError: the port is in use, or this user has no permission to use it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        self.token = new_token()
        try:
            super().__init__((NAMES[0], port), _Quiet)
        except OSError as error:
            advice = "choose another port with --port PORT"
            if error.errno == errno.EADDRINUSE:
                raise StreamError(
                    f"port {port} is in use; {advice}", code="port-in-use", port=port
                ) from error
            raise StreamError(
                f"port {port} cannot be opened: {error.strerror}; {advice}",
                code="port-not-available",
                port=port,
                reason=error.strerror,
            ) from error

    def server_bind(self) -> None:
        """Bind to the port without a network request for the name of this machine."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = NAMES[0], self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors, which occur if a page is closed during a response."""

    @property
    def url(self) -> str:
        """Address of the page with the token. Show it only to the user."""
        return f"http://{NAMES[0]}:{self.server_port}/?{PARAMETER}={self.token}"

    @contextmanager
    def serving(self, application: Application) -> Iterator[None]:
        """Serve requests in a separate thread until the context ends."""
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
    """Serve the page until SIGINT or SIGTERM arrives.

    Args:
        source: camera, stream, video file or picture.
        options: options of the source. A calibration writes the profile that they name.
        port: port on 127.0.0.1; 0 selects a free port.
        notify: function that receives messages with the address of the page and the profile in use.

    Raises:
        MissingPackageError: bottle or a package that reads the source is not installed.
        StreamError: the port is in use, or the file does not exist.
        UsageError: the source is invalid, or the profile belongs to another model.
        BundleError: see `Bundle.open`.
    """
    # Check the arguments first, because loading models is slow.
    import_bottle()
    address = _address(source, options)
    profile = options.profile
    written = _written_profile(address, profile, notify)
    stop = threading.Event()
    with stopped_by_signals(stop), PageServer(port) as server, Bundle.open(options.model) as bundle:
        known = _profile(address, profile, bundle)
        if known is not None:
            notify(
                f"using the profile {profile_path(profile)}; pass --profile {NO_PROFILE} to "
                "ignore it"
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
            notify(f"open {server.url} in a browser on this machine; press Ctrl-C to stop")
            # Check the event repeatedly, because a signal that another thread receives does not
            # wake this thread.
            while not session.stop.wait(_LOOK_S):
                pass


def is_camera(address: LiveAddress) -> bool:
    """Return whether the source can be a camera with a person in front of it."""
    return address.is_own_camera or address.scheme == "rtsp"


def _address(source: str, options: SourceOptions) -> LiveAddress:
    address = live_address(source)
    options.check_source(source, address)
    return address or shown_file(source, loops=FOR_EVER)


def _written_profile(
    address: LiveAddress, named: str | None, notify: Callable[[str], None]
) -> Path | None:
    """Return the path of the profile that a calibration writes.

    If the source is not a camera, or if no home folder is known, the result is `None`.
    """
    if not is_camera(address):
        return None
    if named not in (None, NO_PROFILE):
        return file_to_write("--profile", str(named))
    path = profile_path(named)
    if path is None:
        notify(f"calibration is not possible, {NO_HOME}; set HOME, or pass --profile FILE")
    return path


def _profile(address: LiveAddress, named: str | None, bundle: Bundle) -> Profile | None:
    """Return the profile to use, or `None` if no profile is used.

    If the source is a camera, the named file need not exist, because a calibration creates it.
    """
    path = chosen_profile(named, own_camera=address.is_own_camera)
    if path is None or (is_camera(address) and not path.exists()):
        return None
    return read_profile(path, bundle.contract)

"""`mggr-edge studio`: builds its session and serves its page on this machine alone."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mggr_edge.common.addresses import file_to_write, without_secrets
from mggr_edge.common.folders import NO_HOME
from mggr_edge.common.process import stopped_by_signals
from mggr_edge.errors import StreamError, UsageError
from mggr_edge.media.live.address import LiveAddress, live_address
from mggr_edge.media.live.csi import AS_IT_COMES, PictureFormat
from mggr_edge.media.live.file_playback import FOR_EVER, shown_file
from mggr_edge.models.bundle import Bundle
from mggr_edge.runs.profile import NO_PROFILE, Profile, chosen_profile, profile_path, read_profile
from mggr_edge.tools.studio.access import (
    NAMES,
    PARAMETER,
    Application,
    OwnPageOnly,
    TokenOnly,
    new_token,
)
from mggr_edge.tools.studio.routes import import_bottle, studio_app
from mggr_edge.tools.studio.session import Session, open_session

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


"""How often is looked whether it shall end."""


def run_studio(
    source: str,
    *,
    model: str = "default",
    port: int = 8080,
    profile: str | None = None,
    wanted: PictureFormat = AS_IT_COMES,
    say: Callable[[str], None],
) -> None:
    """Serves the page until SIGINT or SIGTERM comes.

    Args:
        source: a camera, a stream, a video file or a picture.
        model: name or path of a bundle.
        port: on 127.0.0.1; 0 for any that is free.
        profile: file of a profile, which calibrating writes if it is not there; "none" for none;
            None for the user's own, where the source is a camera of this machine.
        wanted: how the source's pictures are wanted.
        say: takes where the page is, and which profile is used.

    Raises:
        MissingPackageError: bottle is not installed, or what the source is read with.
        StreamError: the port is in use, or no such file.
        UsageError: no source, or no profile of this model.
        BundleError: see `Bundle.open`.
    """
    # Mistakes first: models take a moment to load.
    import_bottle()
    address = _address(source, wanted)
    written = _written_profile(address, profile, say)
    stop = threading.Event()
    with stopped_by_signals(stop), PageServer(port) as server, Bundle.open(model) as bundle:
        known = _profile(address, profile, bundle)
        if known is not None:
            say(f"with the profile {profile_path(profile)}; --profile {NO_PROFILE} leaves it out")
        session = Session(
            address,
            bundle,
            wanted=wanted,
            profile=known,
            profile_path=written,
            stop=stop,
            say=say,
        )
        with open_session(session), server.serving(studio_app(session)):
            say(f"open {server.url} in a browser on this machine; Ctrl-C ends it")
            # Again and again: a signal that another thread receives does not wake this one.
            while not session.stop.wait(_LOOK_S):
                pass


def is_camera(address: LiveAddress) -> bool:
    """Whether somebody may sit before it."""
    return address.is_own_camera or address.scheme == "rtsp"


def _address(source: str, wanted: PictureFormat) -> LiveAddress:
    address = live_address(source)
    if address is not None:
        return address
    if wanted != AS_IT_COMES:
        raise UsageError(f"{without_secrets(source)} is no camera; leave out --input-...")
    return shown_file(source, loops=FOR_EVER)


def _written_profile(
    address: LiveAddress, named: str | None, say: Callable[[str], None]
) -> Path | None:
    """The file that calibrating writes; None where there is nobody or no place for it."""
    if not is_camera(address):
        return None
    if named not in (None, NO_PROFILE):
        return file_to_write("--profile", str(named))
    path = profile_path(named)
    if path is None:
        say(f"calibrating is not possible, {NO_HOME}; set HOME, or name --profile FILE")
    return path


def _profile(address: LiveAddress, named: str | None, bundle: Bundle) -> Profile | None:
    """What calibrating found; with a camera, it writes a file that is not there yet."""
    path = chosen_profile(named, own_camera=address.is_own_camera)
    if path is None or (is_camera(address) and not path.exists()):
        return None
    return read_profile(path, bundle.contract)

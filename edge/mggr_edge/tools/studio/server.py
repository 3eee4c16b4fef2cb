"""A small web server on this machine alone."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mggr_edge.errors import StreamError
from mggr_edge.tools.studio.access import PARAMETER, TokenOnly, new_token
from mggr_edge.tools.studio.guard import NAMES, Application, OwnPageOnly

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

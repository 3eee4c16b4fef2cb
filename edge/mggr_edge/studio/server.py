"""A small web server on this machine alone."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mggr_edge.errors import StreamError
from mggr_edge.studio.guard import NAMES, Application, OwnPageOnly

_LOOK_S = 0.1
"""How often the server looks whether it shall end."""

_SILENT_S = 10.0
"""A connection that says nothing for so long is closed."""


class _Quiet(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """A line for every frame would tell nobody anything."""


class PageServer(ThreadingMixIn, WSGIServer):
    """Listens from the moment it is made; answers once it serves.

    Args:
        port: to listen on; 0 for any that is free.

    Raises:
        StreamError: the port is in use, or not for this user.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
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
        """Where the page is."""
        return f"http://{NAMES[0]}:{self.server_port}/"

    @contextmanager
    def serving(self, application: Application) -> Iterator[None]:
        """Answers the page, and nobody else, beside what is in the context."""
        self.set_app(OwnPageOnly(application, self.server_port))
        threading.Thread(
            target=self.serve_forever, args=(_LOOK_S,), name="pages", daemon=True
        ).start()
        try:
            yield
        finally:
            self.shutdown()

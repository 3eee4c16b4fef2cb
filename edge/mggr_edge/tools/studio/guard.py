"""Only the page itself may speak to the server.

It listens on this machine alone, but a browser that runs here also shows pages of others. Such a
page can send requests to 127.0.0.1, and by DNS rebinding [1] under a name of its own; both are
recognised by the headers `Host` and `Origin`, which a page cannot forge.

References:
    [1] Jackson et al., Protecting Browsers from DNS Rebinding Attacks, ACM CCS 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

NAMES = ("127.0.0.1", "localhost")
_HTTP_PORT = 80
"""Left out of addresses."""

HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
"""Of every answer: nothing from elsewhere, not shown within other pages, and never kept."""

_OWN_FETCHES = ("same-origin", "none")
"""What a browser says of a request by the page itself, or typed by somebody."""


class OwnPageOnly:
    """Refuses, with 403, what does not come from the page; a WSGI application around another.

    Args:
        application: what answers the others.
        port: that the server listens on.
    """

    def __init__(self, application: Application, port: int) -> None:
        self._application, self._port = application, port
        self._hosts = {f"{name}:{port}" for name in NAMES}
        if port == _HTTP_PORT:
            self._hosts |= set(NAMES)
        self._origins = {f"http://{host}" for host in self._hosts}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        if not self._is_own(environ):
            text = f"This page is at http://{NAMES[0]}:{self._port}/ and answers itself only.\n"
            start_response("403 Forbidden", [("Content-Type", "text/plain"), *HEADERS])
            return [text.encode()]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, *HEADERS], *rest)

        return self._application(environ, start)

    def _is_own(self, environ: Environ) -> bool:
        origin = environ.get("HTTP_ORIGIN")
        return (
            environ.get("HTTP_HOST", "").lower() in self._hosts
            and (origin is None or origin.lower() in self._origins)
            and environ.get("HTTP_SEC_FETCH_SITE", "none") in _OWN_FETCHES
        )

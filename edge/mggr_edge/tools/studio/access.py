"""Access control of the studio: accept requests only from the user's own page.

The server listens on 127.0.0.1 only. Every user of the machine can send requests to this address,
so the address alone does not protect the frames of a camera. Therefore the server creates a random
token and prints a URL that contains it, as Jupyter does. The first request of the page contains the
token. The response stores the token in a cookie and removes it from the URL.

The cookie is `HttpOnly`: scripts cannot read it. The cookie is `SameSite=Strict`: the browser does
not send it with requests of other sites.

A browser on this machine also shows pages of other sites. Such a page can send requests to
127.0.0.1. With DNS rebinding [1], requests to the host name of this page can also reach 127.0.0.1.
The headers `Host` and `Origin` reveal these two kinds of requests, because a page cannot forge
these headers.

References:
    [1] Jackson et al., Protecting Browsers from DNS Rebinding Attacks, ACM CCS 2007.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

NAMES = ("127.0.0.1", "localhost")
_HTTP_PORT = 80
"""Default port of HTTP. Browsers omit this port in addresses."""

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
"""Headers of each response, which forbid content from other sites, embedding and caching."""

_OWN_FETCHES = ("same-origin", "none")
"""Values of `Sec-Fetch-Site` for requests of the page itself and for typed addresses."""


class OwnPageOnly:
    """WSGI middleware that rejects requests of other pages with status 403.

    Args:
        application: WSGI application that handles the accepted requests.
        port: port on which the server listens.
    """

    def __init__(self, application: Application, port: int) -> None:
        self._application, self._port = application, port
        self._hosts = {f"{name}:{port}" for name in NAMES}
        if port == _HTTP_PORT:
            self._hosts |= set(NAMES)
        self._origins = {f"http://{host}" for host in self._hosts}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        if not self._is_own(environ):
            text = (
                "Access denied. The studio responds only to requests of its own page at "
                f"http://{NAMES[0]}:{self._port}/.\n"
            )
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


PARAMETER = "token"

PUBLIC = frozenset({"/studio.css", "/studio.js", "/favicon.ico"})
"""Paths of files that contain no user data. All other paths require the token."""

_REFUSED = (
    "The token is missing or not valid. Open the address that `mggr-edge studio` printed; it ends "
    f"with ?{PARAMETER}=... and is valid until the studio is restarted.\n"
)


def new_token() -> str:
    """Return 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def cookie_name(port: int) -> str:
    """Return the name of the cookie of a studio.

    A browser sends a cookie to all ports of a host. The name contains the port, so that two studios
    use different cookies.
    """
    return f"mggr-studio-{port}"


class TokenOnly:
    """WSGI middleware that rejects requests without the token with status 403.

    The token is accepted in the cookie or in the query of the URL. If a request for `/` has the
    token in its query, the response sets the cookie. The response also redirects the browser to `/`
    without the query.

    Args:
        application: WSGI application that handles the accepted requests.
        token: secret token.
        port: port on which the server listens.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application, self._token = application, token.encode()
        self._cookie = cookie_name(port)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        path = environ.get("PATH_INFO", "")
        by_query = self._any_fits(parse_qs(environ.get("QUERY_STRING", "")).get(PARAMETER, ()))
        if by_query and path == "/":
            cookie = f"{self._cookie}={self._token.decode()}; Path=/; HttpOnly; SameSite=Strict"
            start_response("303 See Other", [("Location", "/"), ("Set-Cookie", cookie)])
            return []
        if path in PUBLIC or by_query or self._any_fits(_cookies(environ, self._cookie)):
            return self._application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [_REFUSED.encode()]

    def _any_fits(self, given: Iterable[str]) -> bool:
        """Return whether any value equals the token. The comparison takes constant time."""
        return any(
            secrets.compare_digest(one.encode("utf-8", "replace"), self._token) for one in given
        )


def _cookies(environ: Environ, name: str) -> list[str]:
    """Return the values of all cookies with this name."""
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return [value for key, _, value in pairs if key == name]

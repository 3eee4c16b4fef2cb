"""Access control of the studio: its own user, from its own page.

127.0.0.1 is open to every user of the machine, so an address alone gives no access to a camera's
pictures. As Jupyter does, the server makes a random token and prints it in its URL. The page's
first request carries it; the answer puts it into a cookie and takes it out of the address.

The cookie is `HttpOnly` (no script reads it) and `SameSite=Strict` (no other site's page sends it).

It listens on this machine alone, but a browser that runs here also shows pages of others. Such a
page can send requests to 127.0.0.1, and by DNS rebinding [1] under a name of its own; both are
recognised by the headers `Host` and `Origin`, which a page cannot forge.

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


PARAMETER = "token"

PUBLIC = frozenset({"/studio.css", "/studio.js", "/favicon.ico"})
"""Files of the package, which hold nothing of the user's; everything else needs the token."""

_REFUSED = (
    "This request lacks the studio's token. Open the address that `mggr-edge studio` printed; it "
    f"ends with ?{PARAMETER}=... and is valid until the studio is started again.\n"
)


def new_token() -> str:
    """256 random bits, as a URL takes them."""
    return secrets.token_urlsafe(32)


def cookie_name(port: int) -> str:
    """A cookie is of a host and not of its port, so the name tells two studios apart."""
    return f"mggr-studio-{port}"


class TokenOnly:
    """Refuses, with 403, requests without the token; a WSGI application around another.

    The token is taken from the cookie or from the query. A request for the page itself with the
    token in its query is answered by the cookie and a redirect to the page without the query.

    Args:
        application: answers the others.
        token: the secret.
        port: that the server listens on.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application, self._token = application, token.encode()
        self._cookie = cookie_name(port)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
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
        """Compares in constant time."""
        return any(
            secrets.compare_digest(one.encode("utf-8", "replace"), self._token) for one in given
        )


def _cookies(environ: Environ, name: str) -> list[str]:
    """Values of the cookies of that name."""
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    return [value for key, _, value in pairs if key == name]

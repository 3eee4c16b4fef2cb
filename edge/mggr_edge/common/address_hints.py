"""Find the valid INPUT or OUTPUT address that is most similar to an invalid address."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

_SIMILAR = 0.7
"""Minimum `difflib` similarity ratio between a misspelled name and the correct name.

For example, `rstp` and `rtsp` have a ratio of 0.75.
"""
_OTHER_PROTOCOLS = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp"})
"""Schemes of other protocols. These schemes are not treated as misspelled schemes."""

_PORTS = 65_536

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _rule(pattern: str, form: Callable[[re.Match[str]], str]) -> _Rule:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL), form


_DEVICE_NUMBER = r"(?:v4l2?(?:loopback)?:/*)?/*(?:dev/+)?(?:video)?(?P<number>\d+)"
_INPUT_RULES: tuple[_Rule, ...] = (
    _rule(
        r"v4l2?:/*(?:dev/+)?(?:video)?(?P<number>\d+)", lambda m: f"v4l2:///dev/video{m['number']}"
    ),
    _rule(r"v4l2?:/*dev/(?P<name>.+)", lambda m: f"v4l2:///dev/{m['name']}"),
    _rule(r"(?:web)?cam(?:era)?\W*(?P<number>\d+)", lambda m: f"camera://{m['number']}"),
    _rule(r"(?:web)?cam(?:era)?\W*", lambda m: "camera://0"),
    _rule(_DEVICE_NUMBER, lambda m: f"/dev/video{m['number']}"),
    _rule(r"v4l/.+", lambda m: f"/dev/{m[0]}"),
    _rule(r"(?:nv)?(?:argus\w*|csi)\W*(?P<number>\d+)", lambda m: f"csi://{m['number']}"),
    _rule(r"(?:nv)?(?:argus\w*|csi)(?:\W.*)?", lambda m: "csi://0"),
    _rule(
        r"(?P<scheme>rtsps?)(?::(?:/|///+)?|/+)(?P<rest>[^/:].*)",
        lambda m: f"{m['scheme'].lower()}://{m['rest']}",
    ),
)
_OUTPUT_RULES: tuple[_Rule, ...] = (
    _rule(r"null\W*|none|/dev/null", lambda m: "null://"),
    _rule(r"(?:display|window|screen)?:[\d./:]*|display|window|screen", lambda m: "display://0"),
    _rule(
        r"(?:obs|virtual|unity)\W*(?:virtual)?\W*cam(?:era)?(?:\W.*)?",
        lambda m: "virtual-camera://",
    ),
    _rule(_DEVICE_NUMBER, lambda m: f"v4l2loopback:///dev/video{m['number']}"),
    _rule(
        r"rtsps?:/*(?:[^@/]*@)?[^/:]*(?P<port>:\d+)?/*(?P<name>[\w/.-]*)",
        lambda m: f"rtsp://@{_port(m['port'])}/{m['name'] or 'NAME'}",
    ),
)
_INPUT_SCHEMES = ("rtsp", "rtsps", "csi", "camera", "v4l2", "file")
_OUTPUT_SCHEMES = ("rtsp", "display", "v4l2loopback", "null", "file")
_WITH_PATH = ("file", "v4l2", "v4l2loopback")
"""Schemes whose addresses contain a path, so three slashes follow the scheme."""
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):/+(?P<rest>.+)", re.IGNORECASE | re.DOTALL)


def closest_input(text: str) -> str | None:
    """Return the valid INPUT that is most similar to a text.

    If no valid INPUT is similar, or if the search returns the text itself, the result is `None`.

    Example:
        >>> [closest_input(text) for text in ("webcam", "v4l2:/dev/video1", "rtsp:/cam/live")]
        ['camera://0', 'v4l2:///dev/video1', 'rtsp://cam/live']
    """
    form = _by_rule(text, _INPUT_RULES) or _by_scheme(text, _INPUT_SCHEMES)
    form = form or _existing_path(text)
    return None if form == text else form


def closest_output(text: str) -> str | None:
    """Return the valid OUTPUT that is most similar to a text.

    File names are not considered. If no other OUTPUT is similar, or if the search returns the text
    itself, the result is `None`.

    Example:
        >>> [closest_output(text) for text in ("/dev/video10", "null", "rtsp://:8554/eyes")]
        ['v4l2loopback:///dev/video10', 'null://', 'rtsp://@:8554/eyes']
    """
    form = _by_rule(text, _OUTPUT_RULES) or _by_scheme(text, _OUTPUT_SCHEMES)
    return None if form == text else form


def _by_rule(text: str, rules: tuple[_Rule, ...]) -> str | None:
    matches = ((pattern.fullmatch(text.strip()), form) for pattern, form in rules)
    return next((form(match) for match, form in matches if match), None)


def _by_scheme(text: str, known: tuple[str, ...]) -> str | None:
    """Return the address with a corrected scheme, or `None` if no known scheme is similar."""
    found = _SCHEME.fullmatch(text.strip())
    if found is None or (scheme := found["scheme"].lower()) in _OTHER_PROTOCOLS:
        return None
    close = difflib.get_close_matches(scheme, known, n=1, cutoff=_SIMILAR)
    if not close:
        return None
    if close[0] == "csi":
        return "csi://0"
    slashes = ":///" if close[0] in _WITH_PATH else "://"
    return f"{close[0]}{slashes}{found['rest']}"


def _existing_path(text: str) -> str | None:
    """Return the path of an existing file or folder with a similar name.

    If no file or folder has a similar name, the result is `None`.
    """
    variants = (text.strip(), os.path.expanduser(text), unquote(text), text.replace("\\", ""))
    for variant in variants:
        if variant and variant != text and _exists(variant):
            return variant
    path = Path(text)
    try:
        names = os.listdir(path.parent)
    except (OSError, ValueError):
        return None
    same = [name for name in names if name.lower() == path.name.lower()]
    close = same or difflib.get_close_matches(path.name, names, n=1, cutoff=_SIMILAR)
    return str(path.with_name(close[0])) if close and path.name else None


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _port(port: str | None) -> str:
    return port if port and 0 < int(port[1:]) < _PORTS else ":8554"

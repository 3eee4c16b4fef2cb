"""Parse INPUT and OUTPUT as users type them, and hide secrets in messages.

::

    INPUT                                    OUTPUT
    PATH, file:///PATH (percent-encoded)     PATH, file:///PATH
    /dev/video0, v4l2:///dev/video0          v4l2loopback:///dev/video10
    csi://0                                  display://0
    rtsp://HOST/NAME, rtsps://HOST/NAME      rtsp://@:8554/NAME
                                             null://

Schemes are accepted in any case. A text without `SCHEME://` is a path, and the file system says
whether that path is a camera: only a character device is one.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from mggr_edge.common.address_hints import closest_input, closest_output
from mggr_edge.errors import UsageError

Scheme = Literal["file", "v4l2", "csi", "rtsp", "display", "v4l2loopback", "null"]

INPUT_FORMS = "rtsp://HOST/NAME, csi://0, v4l2:///dev/video0 or /dev/video0"
"""Live sources, for messages."""
OUTPUT_FORMS = "display://0, v4l2loopback:///dev/video10, rtsp://@:8554/NAME or null://"
"""Outputs that are not files, for messages."""

PathType = Literal[
    "missing",
    "file",
    "folder",
    "video device",
    "character device",
    "block device",
    "pipe",
    "socket",
]

NOT_SEEKABLE = "cannot be read from any position; save it to a file and name that file"
"""Why a pipe or standard input is no INPUT: a container's index may be at its end."""

_STANDARD_STREAM = "-"

_V4L2_MAJOR = 81
"""Linux' major device number of all Video4Linux devices."""

_WITH_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_SHORT_FILE_URL = re.compile(r"file:(/(?!/).*)", re.IGNORECASE | re.DOTALL)
"""RFC 8089 also allows one slash."""
_LOCALHOST = re.compile(r"localhost(?=/)", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"(?!/)[^:]*:.*@", re.DOTALL)
_CAMERA_NAME = re.compile(r"/dev/(v4l/.+|[^/.]+)")
_VIDEO_DEVICE = re.compile(r"/dev/video\d+")
_SERVED = re.compile(r"@(?P<host>[\w.-]*):(?P<port>\d{1,5})/(?P<path>[\w/.-]+)")
_PORT = re.compile(r"(?:\[[^]]*\]|[^:/?]*):([0-9]{1,9})(?=[/?]|$)")
_PORTS = 65_536

_PASSWORD = re.compile(r"(:/+[^:]*):.*@", re.DOTALL)
"""Greedy on purpose: a user name may hold any character, and a password even a line break."""
_ADDRESS = re.compile(r":/")
"""A path made from an address has lost one of its slashes."""
_WITHOUT_SLASHES = re.compile(r"(\brtsps?(?::|/+)[^:/]*):.*@", re.DOTALL | re.IGNORECASE)
"""`rtsp:me:secret@host`: a mistyped address has a password too."""
_QUERY_VALUE = re.compile(r"([?&][^=&]*)=[^&]*")


@dataclass(frozen=True)
class Address:
    """A parsed INPUT or OUTPUT.

    Attributes:
        scheme: the kind of source or output; `rtsp` includes RTSP over TLS.
        place: a path (`file`, `v4l2`, `v4l2loopback`), a sensor number (`csi`), a URL with a
            lower-case scheme (`rtsp` INPUT), `@HOST:PORT/NAME` (`rtsp` OUTPUT), or empty.
    """

    scheme: Scheme
    place: str = ""


@dataclass(frozen=True)
class Served:
    """Where an RTSP stream is served.

    Attributes:
        host: the interface to listen on; 0.0.0.0 is all of them.
        port: 1 to 65535.
        path: name of the stream, without the leading slash.
    """

    host: str
    port: int
    path: str


def input_address(text: str) -> Address:
    """Parses an INPUT.

    Raises:
        UsageError: an address that cannot be read; the message names the closest valid form.

    Example:
        >>> input_address("RTSP://camera.local/live")
        Address(scheme='rtsp', place='rtsp://camera.local/live')
        >>> input_address("file:///tmp/two%20words.mp4")
        Address(scheme='file', place='/tmp/two words.mp4')
    """
    scheme, rest = _split(text)
    if not rest and scheme in (None, "file"):
        raise UsageError(f"INPUT is empty ({text!r}); name a file, a folder, or {INPUT_FORMS}")
    if text == _STANDARD_STREAM:
        raise UsageError(f"INPUT is -, but standard input {NOT_SEEKABLE}")
    if scheme in (None, "file"):
        return _input_path(rest)
    if scheme == "v4l2" and rest.startswith("/"):
        return _camera(rest)
    if scheme == "csi" and rest.isdecimal() and rest.isascii():
        return Address("csi", rest)
    if scheme in ("rtsp", "rtsps") and _has_host(text):
        port = _PORT.match(rest.rpartition("@")[2])
        if port is not None and not 0 < int(port[1]) < _PORTS:
            raise UsageError(
                f"{redact_credentials(text)} names the port {port[1]}; ports are 1 to {_PORTS - 1}"
            )
        return Address("rtsp", f"{scheme}://{rest}")
    raise UsageError(
        f"{redact_credentials(text)} is no source that this version reads"
        f"{closest_form(closest_input(text))}; cameras are {INPUT_FORMS}"
    )


def output_address(text: str) -> Address:
    """Parses an OUTPUT.

    Raises:
        UsageError: a device, a pipe, or an address that cannot be written; the message names the
            closest valid form.

    Example:
        >>> output_address("RTSP://@:8554/eyes")
        Address(scheme='rtsp', place='@:8554/eyes')
    """
    scheme, rest = _split(text)
    if (special := _special_output(scheme, rest)) is not None:
        return special
    reason = f"{redact_credentials(text) or 'an empty text'} is no OUTPUT"
    if scheme in (None, "file") and text != _STANDARD_STREAM:
        found = path_type(rest)
        is_usual = rest and found in ("missing", "file", "folder")
        if is_usual and not _may_be_camera(rest, found):
            return Address("file", rest)
        if found != "missing":
            reason = f"{redact_credentials(text)} is a {found}, not a file"
    raise UsageError(
        f"{reason}{closest_form(closest_output(text))}; an OUTPUT is a file, {OUTPUT_FORMS}"
    )


def output_scheme(text: str | None) -> Scheme | None:
    """The scheme of an OUTPUT that is no path; None for paths and malformed addresses."""
    special = None if text is None else _special_output(*_split(text, check=False))
    return None if special is None else special.scheme


def served_at(address: Address) -> Served:
    """Where an OUTPUT with the scheme `rtsp` is served."""
    found = _SERVED.fullmatch(address.place)
    assert found is not None
    return Served(found["host"] or "0.0.0.0", int(found["port"]), found["path"])


def path_type(path: str | os.PathLike[str]) -> PathType:
    """What is at a path; links are followed. A path that cannot be looked at is `missing`."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "missing"
    if stat.S_ISCHR(status.st_mode):
        is_video = os.major(status.st_rdev) == _V4L2_MAJOR
        return "video device" if is_video else "character device"
    tests: tuple[tuple[bool, PathType], ...] = (
        (stat.S_ISDIR(status.st_mode), "folder"),
        (stat.S_ISBLK(status.st_mode), "block device"),
        (stat.S_ISFIFO(status.st_mode), "pipe"),
        (stat.S_ISSOCK(status.st_mode), "socket"),
    )
    return next((name for is_one, name in tests if is_one), "file")


def names_a_folder(text: str) -> bool:
    """Whether a text names a folder: one that exists, or anything with a trailing slash."""
    return text.endswith(("/", os.sep)) or os.path.isdir(text)


def file_to_write(option: str, named: str | os.PathLike[str]) -> Path:
    """The file that an option names to be written.

    Args:
        option: its name, for the message.
        named: as the user typed it: `Path` drops a trailing slash.

    Raises:
        UsageError: the text names a folder.
    """
    text = os.fspath(named)
    if not text or names_a_folder(text):
        raise UsageError(
            f"{option} {text or repr(text)} names a folder; name a file, e.g. "
            f"{os.path.join(text, 'NAME')}"
        )
    return Path(text)


def closest_form(form: str | None) -> str:
    """A suggestion to append to a message, quoted for a shell; empty without one."""
    if form is None:
        return ""
    return f"; the closest valid form is {shlex.quote(redact_credentials(form))}"


def redact_credentials(text: str) -> str:
    """An address without its password and without the values of its query; other text as it is."""
    if not _ADDRESS.search(text):
        return _WITHOUT_SLASHES.sub(r"\1:...@", text)
    return _QUERY_VALUE.sub(r"\1=...", _PASSWORD.sub(r"\1:...@", text))


def _split(text: str, *, check: bool = True) -> tuple[str | None, str]:
    """(scheme in lower case, rest); (None, path) for a path; the path of a file URL is decoded."""
    found = _WITH_SCHEME.fullmatch(text)
    if found is None:
        short = _SHORT_FILE_URL.fullmatch(text)
        return (None, text) if short is None else ("file", _decoded(short[1]))
    scheme, rest = found[1].lower(), found[2]
    if scheme != "file":
        return scheme, rest
    if check and _USER_AND_PASSWORD.match(rest):
        raise UsageError(
            f"{redact_credentials(text)} has a user and a password; a file has neither: "
            "write file:///PATH"
        )
    local = _LOCALHOST.match(rest)
    return scheme, _decoded(rest if local is None else rest[local.end() :])


def _decoded(path: str) -> str:
    # surrogateescape: file names are bytes, which need not be UTF-8.
    return unquote(path, errors="surrogateescape")


def _input_path(path: str) -> Address:
    found = path_type(path)
    return Address("v4l2" if _may_be_camera(path, found) else "file", path)


def _camera(path: str) -> Address:
    found = path_type(path)
    if found not in ("missing", "video device"):
        raise UsageError(f"v4l2://{path} is no camera: {path} is a {found}, not a video device")
    return Address("v4l2", path)


def _may_be_camera(path: str, found: PathType) -> bool:
    """A video device, or the name of one that is not plugged in at the moment."""
    if found == "missing":
        return bool(_CAMERA_NAME.fullmatch(str(PurePosixPath(path))))
    return found == "video device"


def _special_output(scheme: str | None, rest: str) -> Address | None:
    if scheme == "null" and not rest:
        return Address("null")
    if scheme == "display" and (not rest or rest.isdecimal()):
        return Address("display", rest)
    if scheme == "v4l2loopback" and (
        _VIDEO_DEVICE.fullmatch(rest) or path_type(rest) == "video device"
    ):
        return Address("v4l2loopback", rest)
    served = _SERVED.fullmatch(rest) if scheme == "rtsp" else None
    if served is not None and 0 < int(served["port"]) < _PORTS:
        return Address("rtsp", rest)
    return None


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # a bracket that is not closed
        return False

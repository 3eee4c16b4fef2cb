"""Parse the INPUT and OUTPUT arguments of commands, and hide credentials in messages.

::

    INPUT                                    OUTPUT
    PATH, file:///PATH (percent-encoded)     PATH, file:///PATH
    camera://0, 0 (a number)                 virtual-camera://
    /dev/video0, v4l2:///dev/video0          v4l2loopback:///dev/video10
    csi://0                                  display://0
    rtsp://HOST/NAME, rtsps://HOST/NAME      rtsp://@:8554/NAME, rtsp://USER:PASSWORD@:8554/NAME
                                             null://

Schemes are case-insensitive. A text without `SCHEME://` is a path. If the text is a number and no
such file exists, it is a camera. If a path is a Video4Linux character device, it is a camera. If a
path does not exist and has the form of a device name in `/dev`, it is also a camera.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from mggr_edge.common.address_hints import closest_input, closest_output
from mggr_edge.errors import UsageError

Scheme = Literal[
    "file", "camera", "v4l2", "csi", "rtsp", "display", "virtual-camera", "v4l2loopback", "null"
]

INPUT_FORMS = "camera://0, rtsp://HOST/NAME, csi://0, v4l2:///dev/video0 or /dev/video0"
"""Valid addresses of cameras and streams, for error messages."""
OUTPUT_FORMS = (
    "display://0, virtual-camera://, v4l2loopback:///dev/video10, rtsp://@:8554/NAME or null://"
)
"""Valid addresses of outputs that are not files, for error messages."""

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

NOT_SEEKABLE = "is not seekable; save the data to a file and pass that file"
"""End of the error message that rejects a pipe or standard input as INPUT.

A video file may store its index at the end, so the program must be able to seek in the file.
"""

_STANDARD_STREAM = "-"

_V4L2_MAJOR = 81
"""Major device number of all Video4Linux devices on Linux."""

_WITH_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_SHORT_FILE_URL = re.compile(r"file:(/(?!/).*)", re.IGNORECASE | re.DOTALL)
"""A file URL with a single slash after `file:`. RFC 8089 also allows this form."""
_LOCALHOST = re.compile(r"localhost(?=/)", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"(?!/)[^:]*:.*@", re.DOTALL)
_CAMERA_NUMBER = re.compile(r"[0-9]{1,3}")
_CAMERA_NAME = re.compile(r"/dev/(v4l/.+|[^/.]+)")
_VIDEO_DEVICE = re.compile(r"/dev/video\d+")
_SERVED = re.compile(
    r"(?:(?P<user>[^:@/\s]+):(?P<password>[^:@/\s]+))?"
    r"@(?P<host>[\w.-]*):(?P<port>\d{1,5})/(?P<path>[\w/.-]+)"
)
_PORT = re.compile(r"(?:\[[^]]*\]|[^:/?]*):([0-9]{1,9})(?=[/?]|$)")
_PORTS = 65_536

_PASSWORD = re.compile(r"(:/+[^:]*):.*@", re.DOTALL)
"""A password in an address.

The match ends at the last `@`, because a password may contain any character, such as `@` or a line
break.
"""
_ADDRESS = re.compile(r":/")
"""Pattern that identifies an address.

One slash is enough, because `pathlib.Path` removes one of the two slashes of an address.
"""
_WITHOUT_SLASHES = re.compile(r"(\brtsps?(?::|/+)[^:/]*):.*@", re.DOTALL | re.IGNORECASE)
"""A password in a mistyped address that has no slashes, for example `rtsp:me:secret@host`."""
_QUERY_VALUE = re.compile(r"([?&][^=&]*)=[^&]*")


@dataclass(frozen=True)
class Address:
    """A parsed INPUT or OUTPUT.

    Attributes:
        scheme: the type of the source or output. `rtsp` includes RTSP over TLS.
        place: the rest of the address. Its form depends on the scheme:
            `file`, `v4l2` and `v4l2loopback`: a path.
            `camera`: the number of a camera, in the order of the operating system.
            `csi`: the number of a sensor.
            `rtsp`: a URL with a lower-case scheme in an INPUT, `@HOST:PORT/NAME` or
            `USER:PASSWORD@HOST:PORT/NAME` in an OUTPUT.
            `display`: a decimal number or an empty string.
            `null`, `virtual-camera`: an empty string.
    """

    scheme: Scheme
    place: str = ""


@dataclass(frozen=True)
class Served:
    """The network address at which an RTSP stream is served.

    Attributes:
        host: the address of the network interface on which the server listens. With 0.0.0.0 the
            server listens on all interfaces.
        port: the TCP port, 1 to 65535.
        path: the name of the stream, without the leading slash.
        user: the name that clients must send. `None` serves all clients.
        password: the password that clients must send.
    """

    host: str
    port: int
    path: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def input_address(text: str) -> Address:
    """Parse an INPUT.

    Raises:
        UsageError: the address is not a valid INPUT. If a valid INPUT is similar, the message
            contains this INPUT.

    Example:
        >>> input_address("RTSP://camera.local/live")
        Address(scheme='rtsp', place='rtsp://camera.local/live')
        >>> input_address("file:///tmp/two%20words.mp4")
        Address(scheme='file', place='/tmp/two words.mp4')
    """
    scheme, rest = _split(text)
    if not rest and scheme in (None, "file"):
        raise UsageError(
            f"INPUT is empty ({text!r}); pass a file, a folder, or {INPUT_FORMS}",
            code="input-empty",
            address=text,
        )
    if text == _STANDARD_STREAM:
        raise UsageError(
            f"INPUT '-' means standard input, which {NOT_SEEKABLE}",
            code="input-is-stdin",
            address=text,
        )
    if scheme in (None, "file"):
        return _input_path(rest)
    if scheme == "v4l2" and rest.startswith("/"):
        return _camera(rest)
    if scheme in ("csi", "camera") and rest.isdecimal() and rest.isascii():
        return Address("csi" if scheme == "csi" else "camera", rest)
    if scheme in ("rtsp", "rtsps") and _has_host(text):
        port = _PORT.match(rest.rpartition("@")[2])
        if port is not None and not 0 < int(port[1]) < _PORTS:
            shown = redact_credentials(text)
            raise UsageError(
                f"{shown} has the port {port[1]}, expected 1 to {_PORTS - 1}",
                code="port-out-of-range",
                address=shown,
                port=int(port[1]),
            )
        return Address("rtsp", f"{scheme}://{rest}")
    closest = closest_input(text)
    raise UsageError(
        f"{redact_credentials(text)} is not a valid INPUT{closest_form(closest)}; an INPUT is a "
        f"file, a folder, {INPUT_FORMS}",
        code="input-not-valid",
        address=redact_credentials(text),
        closest=None if closest is None else redact_credentials(closest),
    )


def output_address(text: str) -> Address:
    """Parse an OUTPUT.

    Raises:
        UsageError: the text is not a valid address, or it is a device or a pipe that cannot be an
            OUTPUT. If a valid OUTPUT is similar, the message contains this OUTPUT.

    Example:
        >>> output_address("RTSP://@:8554/eyes")
        Address(scheme='rtsp', place='@:8554/eyes')
    """
    scheme, rest = _split(text)
    if (special := _special_output(scheme, rest)) is not None:
        return special
    shown = redact_credentials(text)
    found: PathType = "missing"
    reason, code = f"{shown or 'an empty text'} is not a valid OUTPUT", "output-not-valid"
    if scheme in (None, "file") and text != _STANDARD_STREAM:
        found = path_type(rest)
        is_usual = rest and found in ("missing", "file", "folder")
        if is_usual and not _may_be_camera(rest, found):
            return Address("file", rest)
        if found != "missing":
            reason, code = f"{shown} is a {found}, not a file", "output-is-device"
    closest = closest_output(text)
    raise UsageError(
        f"{reason}{closest_form(closest)}; an OUTPUT is a file, {OUTPUT_FORMS}",
        code=code,
        address=shown,
        found=found,
        closest=None if closest is None else redact_credentials(closest),
    )


def output_scheme(text: str | None) -> Scheme | None:
    """Return the scheme of an OUTPUT; the result is `None` for paths and invalid addresses."""
    special = None if text is None else _special_output(*_split(text, check=False))
    return None if special is None else special.scheme


def served_at(address: Address) -> Served:
    """Return the network address of an OUTPUT with the scheme `rtsp`.

    User and password are percent-decoded.
    """
    found = _SERVED.fullmatch(address.place)
    assert found is not None
    secret = [None if part is None else unquote(part) for part in found.group("user", "password")]
    return Served(found["host"] or "0.0.0.0", int(found["port"]), found["path"], *secret)


def path_type(path: str | os.PathLike[str]) -> PathType:
    """Return the type of the file at a path; links are followed.

    If the path does not exist or cannot be accessed, the result is `missing`.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "missing"
    if stat.S_ISCHR(status.st_mode):
        # Windows has character devices, such as NUL, but no device numbers.
        is_video = hasattr(os, "major") and os.major(status.st_rdev) == _V4L2_MAJOR
        return "video device" if is_video else "character device"
    tests: tuple[tuple[bool, PathType], ...] = (
        (stat.S_ISDIR(status.st_mode), "folder"),
        (stat.S_ISBLK(status.st_mode), "block device"),
        (stat.S_ISFIFO(status.st_mode), "pipe"),
        (stat.S_ISSOCK(status.st_mode), "socket"),
    )
    return next((name for is_one, name in tests if is_one), "file")


def names_a_folder(text: str) -> bool:
    """Return whether a text is the path of an existing folder or ends with a slash."""
    return text.endswith(("/", os.sep)) or os.path.isdir(text)


def file_to_write(option: str, named: str | os.PathLike[str]) -> Path:
    """Return the path of the output file that the user passed to an option.

    Args:
        option: the name of the option, for the error message.
        named: the path exactly as the user typed it. A trailing slash must be kept, but `Path`
            drops it.

    Raises:
        UsageError: the path is empty or names a folder.
    """
    text = os.fspath(named)
    if not text or names_a_folder(text):
        raise UsageError(
            f"{option} {text or repr(text)} is a folder, expected a file; pass for example "
            f"{os.path.join(text, 'NAME')}",
            code="option-names-folder",
            option=option,
            path=text,
        )
    return Path(text)


def closest_form(form: str | None) -> str:
    """Return a text that suggests an address, to append to an error message.

    Args:
        form: the address to suggest. In the text, the address is quoted for a shell, and its
            password is hidden. With `None`, the result is an empty string.
    """
    if form is None:
        return ""
    return f"; the closest valid form is {shlex.quote(redact_credentials(form))}"


def redact_credentials(text: str) -> str:
    """Return an address with its password and its query values replaced by `...`.

    Text that is not an address is returned unchanged.
    """
    if not _ADDRESS.search(text):
        return _WITHOUT_SLASHES.sub(r"\1:...@", text)
    return _QUERY_VALUE.sub(r"\1=...", _PASSWORD.sub(r"\1:...@", text))


def _split(text: str, *, check: bool = True) -> tuple[str | None, str]:
    """Split an INPUT or OUTPUT into its scheme and the rest.

    Args:
        text: the address or path that the user typed.
        check: whether to reject a file URL that contains a user name and a password.

    Returns:
        (scheme in lower case, rest), or (`None`, path) for a path. The path of a file URL is
        percent-decoded.

    Raises:
        UsageError: a file URL contains a user name and a password, and `check` is true.
    """
    found = _WITH_SCHEME.fullmatch(text)
    if found is None:
        short = _SHORT_FILE_URL.fullmatch(text)
        return (None, text) if short is None else ("file", _decoded(short[1]))
    scheme, rest = found[1].lower(), found[2]
    if scheme != "file":
        return scheme, rest
    if check and _USER_AND_PASSWORD.match(rest):
        raise UsageError(
            f"{redact_credentials(text)} has a user and a password, which file URLs do not "
            "support; write file:///PATH",
            code="file-url-with-credentials",
            address=redact_credentials(text),
        )
    local = _LOCALHOST.match(rest)
    return scheme, _decoded(rest if local is None else rest[local.end() :])


def _decoded(path: str) -> str:
    # On Linux, file names are arbitrary bytes. Keep names that are not valid UTF-8.
    return unquote(path, errors="surrogateescape")


def _input_path(path: str) -> Address:
    found = path_type(path)
    if found == "missing" and _CAMERA_NUMBER.fullmatch(path):
        return Address("camera", path)
    return Address("v4l2" if _may_be_camera(path, found) else "file", path)


def _camera(path: str) -> Address:
    found = path_type(path)
    if found not in ("missing", "video device"):
        raise UsageError(
            f"v4l2://{path} is not a camera: {path} is a {found}, not a video device",
            code="not-a-video-device",
            path=path,
            found=found,
        )
    return Address("v4l2", path)


def _may_be_camera(path: str, found: PathType) -> bool:
    """Return whether a path is a video device.

    If a path does not exist but has the form of a device name, the result is also true, because the
    device may be unplugged.
    """
    if found == "missing":
        return bool(_CAMERA_NAME.fullmatch(str(PurePosixPath(path))))
    return found == "video device"


def _special_output(scheme: str | None, rest: str) -> Address | None:
    if scheme == "null" and not rest:
        return Address("null")
    if scheme == "virtual-camera" and not rest:
        return Address("virtual-camera")
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
    except ValueError:  # the URL has an unclosed bracket
        return False

"""Where a live source is, in the words of jetson-utils."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mggr_edge.addresses import without_secrets
from mggr_edge.errors import UsageError

Scheme = Literal["rtsp", "v4l2", "csi", "film", "still"]
"""The last two are files that are shown as if they were live."""

_DEVICE = re.compile(r"^(?:v4l2://)?(/dev/[\w./-]+)$")
_CSI = re.compile(r"^csi://(\d+)$")
_ANY_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FILE = "file://"
_FILE_OF_SOMEBODY = re.compile(r"^file://(?!/)[^:]*:.*@", re.IGNORECASE | re.DOTALL)

FORMS = "rtsp://HOST/NAME, csi://0, v4l2:///dev/video0 or /dev/video0"


@dataclass(frozen=True)
class LiveAddress:
    """A live source.

    Attributes:
        scheme: how it is spoken to.
        place: a URL, a device file, the number of a CSI sensor, or a path.
        loops: how many times more a film is shown; -1 for ever.
    """

    scheme: Scheme
    place: str
    loops: int = 0

    @property
    def is_own_camera(self) -> bool:
        """Whether it is a camera of this machine."""
        return self.scheme in ("csi", "v4l2")

    def __str__(self) -> str:
        """As it may be shown and logged: without a password."""
        return f"csi://{self.place}" if self.scheme == "csi" else without_secrets(self.place)


def live_address(text: str) -> LiveAddress | None:
    """Reads an INPUT; None for what is a file's or folder's name.

    Raises:
        UsageError: an address of another kind.
    """
    if device := _DEVICE.match(text):
        return LiveAddress("v4l2", device[1])
    if sensor := _CSI.match(text):
        return LiveAddress("csi", sensor[1])
    scheme = _ANY_SCHEME.match(text)
    if scheme is None or text.lower().startswith(_FILE):
        return None
    if scheme[1].lower() == "rtsp" and _has_host(text):
        return LiveAddress("rtsp", text)
    shown = without_secrets(text)
    raise UsageError(f"{shown} is no source that this version reads; cameras are {FORMS}")


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:  # a bracket that is not closed
        return False


def file_path(text: str) -> str:
    """The path in `file://PATH`; any other text as it is.

    Raises:
        UsageError: a user and password stand in it.
    """
    if _FILE_OF_SOMEBODY.match(text):
        raise UsageError(f"{without_secrets(text)} has a password, which files have not")
    return text[len(_FILE) :] if text.lower().startswith(_FILE) else text

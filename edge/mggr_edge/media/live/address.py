"""Live sources: cameras, streams, and files that are shown as if they were live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mggr_edge.common.addresses import input_address, redact_credentials

Scheme = Literal["rtsp", "v4l2", "csi", "film", "still"]
"""The last two are files that are shown as if they were live."""


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
        return f"csi://{self.place}" if self.scheme == "csi" else redact_credentials(self.place)


def live_address(text: str) -> LiveAddress | None:
    """Reads an INPUT; None for a file or folder.

    Raises:
        UsageError: see `addresses.input_address`.
    """
    address = input_address(text)
    match address.scheme:
        case "rtsp" | "v4l2" | "csi":
            return LiveAddress(address.scheme, address.place)
        case _:
            return None

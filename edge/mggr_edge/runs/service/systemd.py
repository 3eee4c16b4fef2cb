"""Reports the state of a service to systemd.

Messages to systemd go to a Unix socket that it names in the environment; without one, as in a
terminal, nothing is said.

References:
    sd_notify(3), systemd.service(5): `Type=notify`, `WatchdogSec=`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

_KICKS_PER_LIMIT = 3
_MICROSECONDS = 1e6


class Systemd:
    """The service manager that started this process, if one did.

    Args:
        environment: with `NOTIFY_SOCKET`, and `WATCHDOG_USEC` where a watchdog is set.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        limit_s = _seconds(environment.get("WATCHDOG_USEC"))
        self._kick_s = None if limit_s is None else limit_s / _KICKS_PER_LIMIT
        self._kicked_s = -float("inf")

    def ready(self) -> None:
        """It has started: models are loaded, and the source is being read."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """What it does, in a line for people."""
        self._tell(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """It is well. May be said as often as one likes; the watchdog hears it often enough."""
        now = time.monotonic()
        if self._kick_s is not None and now - self._kicked_s >= self._kick_s:
            self._kicked_s = now
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It has been asked to end."""
        self._tell("STOPPING=1")

    def _tell(self, what: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),  # nobody listens: a service goes on
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(what.encode(), self._address)


def _seconds(microseconds: str | None) -> float | None:
    if microseconds is None or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / _MICROSECONDS


STUCK_S = 30.0
"""Longer than any source may take to open or to give a frame: what is silent for so long hangs."""


class Heartbeat:
    """Beaten by who reads, looked at by who waits."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Says that something is being tried, whether it works or not."""
        self._last_s = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether it is too long ago."""
        return time.monotonic() - self._last_s > STUCK_S


@dataclass
class Counts:
    """Counted by `live_run` while it goes on.

    Attributes:
        dropped: frames that came while another was in work.
        left_out: frames that were not taken on purpose, as there was too much to do.
        reconnected: how often the source came back.
    """

    dropped: int = 0
    left_out: int = 0
    reconnected: int = 0

"""Real RTSP servers for tests, in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"

BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0)]
"""The first six of seven, each 46 pixels wide, at full saturation here."""


def shows_bars(frame: NDArray[np.uint8]) -> bool:
    """Whether a frame is what `rtsp_server.py` serves."""
    assert frame.shape == (240, 320, 3)
    for n, colour in enumerate(BARS):
        seen = frame[40:120, 46 * n + 12 : 46 * n + 34].mean(axis=(0, 1))
        assert np.abs(seen - colour).max() < 30, (n, seen)
    return True


def has_server() -> bool:
    script = (
        "import gi; gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'videotestsrc')))"
    )
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", script], capture_output=True).returncode == 0


class Server:
    """A server of so many frames a session, 0 for ever: the process, and where it serves."""

    def __init__(self, frames: int, *more: str, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, SERVER, str(frames), str(port), *more],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"rtsp://127.0.0.1:{self.port}/bars"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving() -> Iterator[Callable[..., Server]]:
    """Gives what starts servers; they end with the context. Skips where there are none."""
    if not has_server():
        pytest.skip("no GStreamer RTSP server with bindings for the system's Python")
    started: list[Server] = []

    def start(frames: int, *more: str, port: int = 0) -> Server:
        started.append(Server(frames, *more, port=port))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.kill()

"""Frames into a virtual camera, by a backend in v4l2loopback's place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError
from mggr_edge.media.live.sinks import VirtualCamera
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.live_run import run_live

av = pytest.importorskip("av")

from refusals import refusal  # noqa: E402
from scripted_source import CAMERA, Scripted, invert  # noqa: E402


class Loopback:
    """A backend of pyvirtualcam that stands for v4l2loopback, and keeps what it is shown."""

    shown: ClassVar[list[NDArray[np.uint8]]] = []
    closed: ClassVar[int] = 0

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str) -> None:
        if device != "/dev/video10":
            raise RuntimeError(f"Camera device {device}\n  does not exist")
        self.size = (height, width)

    def send(self, frame: NDArray[np.uint8]) -> None:
        self.shown.append(frame.reshape(*self.size, 3).copy())

    def close(self) -> None:
        type(self).closed += 1

    def device(self) -> str:
        return "/dev/video10"

    def native_fourcc(self) -> None:
        return None


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> type[Loopback]:
    pyvirtualcam = pytest.importorskip("pyvirtualcam")
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {"loopback": Loopback})
    Loopback.shown.clear()
    Loopback.closed = 0
    return Loopback


def test_a_virtual_camera_shows_every_frame(
    scripted: Callable[[Scripted], Scripted], loopback: type[Loopback]
) -> None:
    scripted(Scripted(frames=5, pause_s=0.03))
    summary = run_live(CAMERA, VirtualCamera("/dev/video10"), process=twice_as_wide, columns=2)
    assert summary.in_words().startswith("wrote /dev/video10: ")
    assert len(loopback.shown) == summary.frames
    assert loopback.shown[-1].shape == (16, 32, 3)
    assert (loopback.shown[-1] == 5).all()
    assert loopback.closed == 1


def twice_as_wide(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(np.tile(frame, (1, 2, 1)), ())


def test_a_virtual_camera_that_is_not_there_says_how_to_make_it(
    scripted: Callable[[Scripted], Scripted], loopback: type[Loopback]
) -> None:
    scripted(Scripted(frames=5, pause_s=0.01))
    command = "modprobe v4l2loopback video_nr=7 exclusive_caps=1"
    with refusal(StreamError, "virtual-camera-open-failed", device="/dev/video7") as caught:
        run_live(CAMERA, VirtualCamera("/dev/video7"), process=invert)
    assert command in str(caught.value)


def test_a_missing_pyvirtualcam_is_named(
    scripted: Callable[[Scripted], Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    scripted(Scripted(frames=5, pause_s=0.01))
    with refusal(MissingPackageError, "missing-package", package="pyvirtualcam"):
        run_live(CAMERA, VirtualCamera("/dev/video10"), process=invert)

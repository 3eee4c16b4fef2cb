"""Modes of USB cameras. No camera is here: a class stands in the place of `cv2.VideoCapture`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from mggr_edge.media.live import cameras
from mggr_edge.media.live.address import CameraFormat, LiveAddress
from mggr_edge.media.live.cameras import CameraCapture, CameraMode
from mggr_edge.media.live.sources import open_capture

Modes = dict[str, dict[tuple[int, int], float]]
WEBCAM: Modes = {
    "YUYV": {(640, 480): 30, (1280, 720): 10, (1920, 1080): 5},
    "MJPG": {(640, 480): 30, (1280, 720): 30, (1920, 1080): 30},
}
OLD: Modes = {"YUYV": {(640, 480): 30, (1280, 720): 10}}


class Uvc:
    """A camera behind OpenCV: it takes the nearest size, and the fastest rate of it at most."""

    modes: ClassVar[Modes] = WEBCAM

    def __init__(self, place: str, api: int) -> None:
        assert api == cv2.CAP_V4L2
        self.fourcc, self.asked = "YUYV", [640.0, 480.0]
        self.rate: float | None = None
        self.settings: list[int] = []

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, setting: int, value: float) -> bool:
        self.settings.append(setting)
        if setting == cv2.CAP_PROP_FOURCC:
            fourcc = int(value).to_bytes(4, "little").decode()
            self.fourcc = fourcc if fourcc in self.modes else "YUYV"  # as OpenCV does
            self.rate = None
        elif setting in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self.asked[setting == cv2.CAP_PROP_FRAME_HEIGHT] = value
            self.rate = None
        elif setting == cv2.CAP_PROP_FPS:
            self.rate = value
        return True

    def size(self) -> tuple[int, int]:
        width, height = self.asked
        return min(self.modes[self.fourcc], key=lambda s: abs(s[0] - width) + abs(s[1] - height))

    def get(self, setting: int) -> float:
        fastest = self.modes[self.fourcc][self.size()]
        return {
            cv2.CAP_PROP_FRAME_WIDTH: self.size()[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size()[1],
            cv2.CAP_PROP_FPS: fastest if self.rate is None else min(self.rate, fastest),
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*self.fourcc),
            cv2.CAP_PROP_POS_MSEC: 0,  # the driver does not tell when a frame was taken
        }[setting]

    def read(self) -> tuple[bool, np.ndarray]:
        width, height = self.size()
        return True, np.zeros((height, width, 3), np.uint8)

    def release(self) -> None: ...


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveAddress:
    monkeypatch.setattr(cameras.cv2, "VideoCapture", Uvc)
    monkeypatch.setattr(Uvc, "modes", WEBCAM)
    (tmp_path / "video0").touch()
    return LiveAddress("v4l2", str(tmp_path / "video0"))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CameraFormat(), CameraMode(640, 480, 30, "YUYV")),
        (CameraFormat(640, 480, 30), CameraMode(640, 480, 30, "YUYV")),
        (CameraFormat(640, 480), CameraMode(640, 480, 30, "YUYV")),
        (CameraFormat(1280, 720, 10), CameraMode(1280, 720, 10, "YUYV")),
        (CameraFormat(1280, 720, 30), CameraMode(1280, 720, 30, "MJPG")),
        (CameraFormat(1280, 720), CameraMode(1280, 720, 30, "MJPG")),
        (CameraFormat(rate=30), CameraMode(640, 480, 30, "YUYV")),
        (CameraFormat(1900, 1000), CameraMode(1920, 1080, 30, "MJPG")),
        (CameraFormat(640, 480, 60), CameraMode(640, 480, 30, "YUYV")),
    ],
)
def test_jpeg_is_asked_for_where_raw_frames_are_too_few(
    camera: LiveAddress, wanted: CameraFormat, expected: CameraMode
) -> None:
    capture = CameraCapture(camera, wanted)
    assert capture.mode == expected
    frame = capture.read()
    assert frame is not None
    assert frame.shape == (expected.height, expected.width, 3)


def test_a_camera_without_jpeg_keeps_raw_frames(
    camera: LiveAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Uvc, "modes", OLD)
    capture = CameraCapture(camera, CameraFormat(1280, 720, 30))
    assert capture.mode == CameraMode(1280, 720, 10, "YUYV")


def test_the_format_comes_first_then_the_size_then_the_rate(camera: LiveAddress) -> None:
    capture = CameraCapture(camera, CameraFormat(1280, 720, 30))
    settings = capture._device.settings  # type: ignore[attr-defined]
    after = settings[settings.index(cv2.CAP_PROP_FOURCC) :]
    assert after == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]


def test_the_mode_is_reported_and_what_was_asked_for_if_it_is_another(camera: LiveAddress) -> None:
    said: list[str] = []
    open_capture(camera, CameraFormat(1280, 720, 30), notify=said.append)
    open_capture(camera, CameraFormat(1280, 720, 60), notify=said.append)
    assert said[0].endswith("1280 x 720 at 30 frames per second, MJPG")
    assert "1280 x 720 at 30 frames per second, MJPG" in said[1]
    assert "1280 x 720 at 60" in said[1]
    assert not any("\n" in line for line in said)


def test_a_driver_that_tells_no_rate(camera: LiveAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uvc, "modes", {"GREY": {(640, 480): -1.0}, "YUYV": {(640, 480): -1.0}})
    capture = CameraCapture(camera, CameraFormat())
    assert capture.mode.rate == 0
    assert "unknown" in capture.described()

"""The WebRTC example: its track, frame by frame, and a browser whose camera shows a portrait."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cv2
import numpy as np
import pytest

from mggr_edge import Gaze, Redirector
from ports import free_port

FILE = Path(__file__).parents[2] / "examples" / "webrtc_camera.py"

pytestmark = [pytest.mark.extended, pytest.mark.processes]
av = pytest.importorskip("av")
aiortc = pytest.importorskip("aiortc", reason="aiortc is not installed")


@pytest.fixture(scope="module")
def aside(bundle):
    """A portrait of 480 x 480 pixels that looks to the side."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the portrait")
    picture = cv2.resize(data.astronaut()[:280, 70:350], (480, 480))
    return Redirector(bundle, target=Gaze(0, 18)).redirect_image(picture).frame


def example():
    spec = spec_from_file_location("webrtc_track", FILE.with_name("webrtc_track.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_track_redirects_every_frame_and_keeps_its_time(bundle, aside):
    class Frames(aiortc.MediaStreamTrack):
        kind = "video"
        sent = 0

        async def recv(self):
            frame = av.VideoFrame.from_ndarray(np.roll(aside, self.sent, axis=1), format="rgb24")
            frame.pts, frame.time_base = 3600 * self.sent, Fraction(1, 90_000)
            self.sent += 1
            return frame

    async def received(count):
        track = example().GazeTrack(Frames(), bundle)
        return [await track.recv() for _ in range(count)]

    redirector = Redirector(bundle)
    for number, frame in enumerate(asyncio.run(received(5))):
        assert (frame.pts, frame.time_base) == (3600 * number, Fraction(1, 90_000))
        shown = np.roll(aside, number, axis=1)
        wanted = redirector.redirect_frame(shown, number / 25).frame
        np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), wanted)
        assert (wanted != shown).any()


def gaze_of(bundle, picture):
    (face,) = Redirector(bundle, strength=0.0).redirect_image(picture).faces
    return face.eyes[0].gaze_before


def test_a_browser_sees_its_camera_redirected(bundle, aside, tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with a driver")
    film = tmp_path / "camera.mjpeg"
    ok, jpeg = cv2.imencode(".jpg", aside[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    film.write_bytes(jpeg.tobytes() * 30)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(FILE), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
    ):
        options.add_argument(flag)
    try:
        assert server.stdout.readline().startswith(f"open http://127.0.0.1:{port}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            browser.get(f"http://127.0.0.1:{port}")
            seen = [first_picture(browser, name) for name in ("camera", "redirected")]
        finally:
            browser.quit()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    before, after = (gaze_of(bundle, picture) for picture in seen)
    lens = Gaze(0, 0)
    assert before.angle_to(lens) > 8
    assert after.angle_to(lens) < before.angle_to(lens) - 4


def first_picture(browser, name):
    """A frame of a video element, once it plays at full size."""
    script = """
        const video = document.getElementById(arguments[0]);
        if (video.videoWidth < 400 || video.currentTime < 2) return null;
        const canvas = document.createElement("canvas");
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        canvas.getContext("2d").drawImage(video, 0, 0);
        return canvas.toDataURL("image/png").split(",")[1];
    """
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if content := browser.execute_script(script, name):
            image = pytest.importorskip("PIL.Image")
            return np.asarray(image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        time.sleep(0.3)
    raise AssertionError(f"{name} shows nothing; the page says: {browser.title}")

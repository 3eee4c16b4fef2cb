"""A window: what it shows, its keys, and a real one on a screen of its own."""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import MissingPackageError, StreamError, UsageError
from mggr_edge.media.files.pictures import Picture, write_picture
from mggr_edge.media.live import sinks as window
from mggr_edge.media.live.address import LiveAddress
from mggr_edge.media.live.cameras import Controls
from mggr_edge.media.live.file_playback import shown_file
from mggr_edge.media.live.sinks import Window, live_output
from mggr_edge.pipeline.results import FrameResult
from mggr_edge.runs.console import AdjustableStrength
from mggr_edge.runs.live_run import run_live
from ramps import smooth_picture
from refusals import refusal

av = pytest.importorskip("av")


class Screen:
    """Stands in for OpenCV's windows: keeps what is shown, presses the keys it is given."""

    def __init__(self, keys: str = "", closed_after: int | None = None) -> None:
        self.shown: list[NDArray[np.uint8]] = []
        self.keys, self.closed_after = list(keys), closed_after
        self.is_open = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(window, "has_windows", lambda: True)
        for name, stand_in in {
            "namedWindow": lambda title, flags: setattr(self, "is_open", True),
            "resizeWindow": lambda title, width, height: None,
            "imshow": lambda title, bgr: self.shown.append(bgr.copy()),
            "waitKey": lambda ms: ord(self.keys.pop(0)) if self.keys else -1,
            "getWindowProperty": lambda title, prop: float(
                self.closed_after is None or len(self.shown) < self.closed_after
            ),
            "destroyAllWindows": lambda: setattr(self, "is_open", False),
        }.items():
            monkeypatch.setattr(cv2, name, stand_in)


def _film(path: Path, *, frames: int = 12) -> LiveAddress:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for count in range(frames):
            rgb = np.full((48, 64, 3), (250, 20, 20), np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = count, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return shown_file(str(path))


def _same(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(frame, ())


def test_a_film_is_shown_at_its_own_pace_in_its_own_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    screen.install(monkeypatch)
    started = time.monotonic()
    summary = run_live(_film(tmp_path / "a.mp4"), Window(Controls()), process=_same)
    assert time.monotonic() - started > 10 / 25
    assert summary.frames == len(screen.shown)
    assert summary.frames + summary.dropped == 12
    blue, green, red = screen.shown[0].mean((0, 1))
    assert red > 200 > 60 > max(blue, green)
    assert not screen.is_open
    assert summary.in_words().startswith("showed in a window: ")


@pytest.mark.extended
def test_q_ends_it_and_so_does_closing_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for screen in (Screen("xq"), Screen(closed_after=2)):
        screen.install(monkeypatch)
        controls = Controls()
        film = _film(tmp_path / "a.mp4", frames=50)
        run_live(film, Window(controls), process=_same, stop=controls.stop)
        assert len(screen.shown) == 2


def test_a_picture_stays_until_somebody_has_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "a.png", Picture(smooth_picture(48, 64)))
    screen = Screen("...q")
    screen.install(monkeypatch)
    controls = Controls()
    still = shown_file(str(tmp_path / "a.png"))
    summary = run_live(still, Window(controls), process=_same, stop=controls.stop)
    assert summary.frames == 4
    np.testing.assert_array_equal(screen.shown[3][..., ::-1], smooth_picture(48, 64))


def test_keys_change_what_is_asked_for() -> None:
    controls = Controls(strength=0.85)
    for key in "+++":
        controls.press(key)
    assert controls.strength == 1.0
    for key in "-" * 12:
        controls.press(key)
    assert controls.strength == 0.0
    controls.press("=")
    assert controls.in_words() == "strength 0.1"
    controls.press(" ")
    assert (controls.is_on, controls.in_words()) == (False, "off")
    controls.press("o")
    controls.press("?")
    assert controls.overlay
    assert not controls.stop.is_set()
    controls.press("\x1b")
    assert controls.stop.is_set()


def test_a_redirector_does_what_the_controls_say() -> None:
    class Redirecting:
        strength = 1.0

    redirector, controls, asked = Redirecting(), Controls(strength=0.5), []

    def note(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        asked.append(redirector.strength)
        return FrameResult(frame, ())

    steered = AdjustableStrength(note, redirector, controls)  # type: ignore[arg-type]
    for key in ("", "+", " ", " "):
        controls.press(key)
        steered(np.zeros((2, 2, 3), np.uint8))
    assert asked == [0.5, 0.6, 0.0, 0.6]


def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_windows", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with (
        refusal(StreamError, "no-screen"),
        live_output("display://0").opened(None),  # type: ignore[arg-type]
    ):
        pass


def test_an_opencv_without_windows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:       NONE\n  Other: x\n")
    assert not window.has_windows()
    with (
        refusal(
            MissingPackageError, "missing-package", command="pip install 'mggr-tf[display]'"
        ) as caught,
        live_output("display://0").opened(None),  # type: ignore[arg-type]
    ):
        pass
    assert "opencv-python" in str(caught.value.fields["package"])


def test_a_folder_is_not_shown(tmp_path: Path) -> None:
    with refusal(UsageError, "folder-as-live-source", path=tmp_path):
        shown_file(str(tmp_path))


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real X server without a monitor: its name, and the file of its pixels."""
    if not window.has_windows() or shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb, and an OpenCV with windows")
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "400x300x24"]
    server = subprocess.Popen([*command, "-fbdir", str(tmp_path)], pass_fds=[writes])
    os.close(writes)
    with os.fdopen(reads) as pipe:
        number = pipe.readline().strip()
    yield f":{number}", tmp_path / "Xvfb_screen0"
    server.terminate()
    server.wait(10)


def _pixels(dump: Path) -> NDArray[np.uint8]:
    """[H, W, 3] RGB of an XWD file of 32 bits a pixel."""
    data = dump.read_bytes()
    header = struct.unpack(">25I", data[:100])
    width, height, line, colours = header[4], header[5], header[12], header[19]
    start = header[0] + 12 * colours
    rows = np.frombuffer(data, np.uint8, line * height, start).reshape(height, line)
    return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1]


@pytest.mark.processes
def test_a_real_window_shows_a_picture_and_q_closes_it(
    tmp_path: Path, screen: tuple[str, Path]
) -> None:
    display, dump = screen
    blank = np.full((96, 128, 3), (250, 20, 20), np.uint8)
    write_picture(tmp_path / "red.png", Picture(blank))
    script = (
        "import sys; from mggr_edge.media.live.cameras import Controls;"
        "from mggr_edge.media.live.file_playback import shown_file;"
        "from mggr_edge.media.live.sinks import Window;"
        "from mggr_edge.runs.live_run import run_live;"
        "from mggr_edge.pipeline.results import FrameResult;"
        "c = Controls(); run_live(shown_file(sys.argv[1]), Window(c), stop=c.stop,"
        "process=lambda f, *, time_s=None: FrameResult(255 - f, ()))"
    )
    environment = {**os.environ, "DISPLAY": display}
    shown = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "red.png")], env=environment
    )
    try:
        deadline = time.monotonic() + 60
        turned = 255 - blank[0, 0].astype(int)
        while time.monotonic() < deadline and shown.poll() is None:
            seen = (np.abs(_pixels(dump).astype(int) - turned).max(-1) < 12).sum()
            if seen > 0.5 * blank[..., 0].size:
                break
            time.sleep(0.2)
        assert shown.poll() is None
        assert seen > 0.5 * blank[..., 0].size, "the window shows the picture, turned to cyan"
        if shutil.which("xdotool") is not None:
            found = ["xdotool", "search", "--sync", "--name", window.TITLE, "windowfocus"]
            subprocess.run([*found, "key", "q"], env=environment, check=True, timeout=30)
            assert shown.wait(30) == 0
    finally:
        shown.kill()
        shown.wait(10)

"""Live sources: a real RTSP server where GStreamer is installed; a film in a camera's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mggr_edge.errors import (
    DiskError,
    MissingPackageError,
    OutputExistsError,
    StreamError,
    UsageError,
)
from mggr_edge.live import v4l2
from mggr_edge.live.address import LiveAddress, file_path, live_address
from mggr_edge.live.newest import Newest
from mggr_edge.live.output import Nowhere, Recording, VirtualCamera, live_output
from mggr_edge.live.picture_format import FLIPS, Flip, PictureFormat, flipped
from mggr_edge.live.rtsp import RtspCapture
from mggr_edge.live.v4l2 import V4L2Capture
from mggr_edge.live_run import run_live
from mggr_edge.redirector import FrameResult
from mggr_edge.streams.paths import find_source
from streaming import Server, serving, shows_bars

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("/dev/video0", "v4l2", "/dev/video0"),
        ("v4l2:///dev/v4l/by-id/cam", "v4l2", "/dev/v4l/by-id/cam"),
        ("csi://1", "csi", "1"),
        ("rtsp://host:8554/live", "rtsp", "rtsp://host:8554/live"),
    ],
)
def test_live_addresses(text: str, scheme: str, place: str) -> None:
    assert live_address(text) == LiveAddress(scheme, place)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["clip.mp4", "file:///tmp/clip.mp4", "a:b.mp4", "dev/video0"])
def test_files_are_no_live_addresses(text: str) -> None:
    assert live_address(text) is None


@pytest.mark.parametrize("text", ["csi://front", "rtsp:///name", "http://host/x", "null://"])
def test_other_addresses_are_refused_with_what_would_work(text: str) -> None:
    with pytest.raises(UsageError, match=r"no source .* rtsp://HOST/NAME, csi://0, v4l2:///dev"):
        live_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://me:secret@host/x",
        "rtsps://me:secret@host",
        "http://me:se/cr#et?secret@host/a",
        "rtsp://host/live?user=admin&password=secret",
        "rtsp://[::1/a?a=secret",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    for refuse in (live_output, find_source):
        with pytest.raises(UsageError) as caught:
            refuse(text)
        assert "secret" not in str(caught.value)
    assert "secret" not in str(LiveAddress("rtsp", text))
    if not text.startswith("rtsp://me") and "host/live" not in text:
        with pytest.raises(UsageError) as caught:
            live_address(text)
        assert "secret" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    address = live_address("rtsp://me:secret@host:8554/live?a=1")
    assert address is not None
    assert "secret" in address.place
    assert str(address) == "rtsp://me:...@host:8554/live?a=..."
    assert file_path("file:///tmp/a b.mp4") == "/tmp/a b.mp4"


def test_outputs_are_videos_virtual_cameras_or_nothing(tmp_path: Path) -> None:
    assert live_output("null://") == Nowhere()
    assert live_output(str(tmp_path / "a.mkv")) == Recording(tmp_path / "a.mkv")
    assert live_output(f"file://{tmp_path}/a.mp4", comment="c") == Recording(
        tmp_path / "a.mp4", "c"
    )
    assert live_output("v4l2loopback:///dev/video10") == VirtualCamera("/dev/video10")
    served = ("rtsp://host:8554/x.mp4", "rtsp://@:99999/x", "rtsp://@:0/x")
    for output in (None, "a.jpg", "folder", *served, "v4l2loopback://10"):
        with pytest.raises(UsageError, match=r"OUTPUT.*a video file \(\.mp4 \.mov \.mkv\), v4l2"):
            live_output(output, force=True)
    (tmp_path / "a.mp4").write_bytes(b"theirs")
    with pytest.raises(OutputExistsError):
        live_output(str(tmp_path / "a.mp4"))


@dataclass
class Scripted:
    """Gives frames whose grey level counts up, each after it is let go."""

    frames: int
    error: Exception | None = None
    pause_s: float = 0.0
    given: int = 0
    closed: bool = False
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def read(self) -> NDArray[np.uint8] | None:
        if self.pause_s:
            time.sleep(self.pause_s)
        else:
            self.gate.acquire()
        if self.given == self.frames:
            if self.error is not None:
                raise self.error
            return None
        self.given += 1
        return np.full((16, 16, 3), self.given, np.uint8)

    def close(self) -> None:
        self.closed = True


def wait_for(condition: Callable[[], bool]) -> None:
    """Up to five seconds: another thread is at it."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    source, stop = Scripted(frames=6), threading.Event()
    with Newest(source, stop=stop) as newest:
        frames = iter(newest)
        source.gate.release(4)
        wait_for(lambda: source.given == 4 and newest.dropped == 3)
        assert next(frames).rgb[0, 0, 0] == 4
        source.gate.release()
        assert next(frames).rgb[0, 0, 0] == 5
        source.gate.release(2)
        last = list(frames)
    assert [frame.rgb[0, 0, 0] for frame in last] == [6]
    assert newest.dropped == 3


def test_times_go_up_from_zero() -> None:
    source = Scripted(frames=20, pause_s=0.001)
    with Newest(source, stop=threading.Event()) as newest:
        times = [frame.time_s for frame in newest]
    assert times == sorted(set(times))
    assert 0 <= times[0] < 1
    assert len(times) + newest.dropped == 20


def test_a_loss_is_raised_behind_the_last_frame() -> None:
    source = Scripted(frames=1, error=StreamError("the camera is lost"))
    with Newest(source, stop=threading.Event()) as newest:
        source.gate.release(2)
        frames = iter(newest)
        assert next(frames).rgb[0, 0, 0] == 1
        with pytest.raises(StreamError, match="the camera is lost"):
            next(frames)


def test_stopping_ends_the_frames() -> None:
    source, stop = Scripted(frames=10**9, pause_s=0.005), threading.Event()
    with Newest(source, stop=stop) as newest:
        for frame in newest:
            if frame.time_s > 0.05:
                stop.set()
    given = source.given
    time.sleep(0.05)
    assert source.given == given  # nobody reads on


def invert(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
    return FrameResult(255 - frame, ())


CAMERA = LiveAddress("v4l2", "/dev/video0")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], Scripted]:
    def put(source: Scripted) -> Scripted:
        monkeypatch.setattr("mggr_edge.live.capture._opened", lambda address, wanted: source)
        return source

    return put


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with closing(av.open(str(path))) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("error", [None, StreamError("/dev/video0 is lost")])
def test_a_recording_is_whole_however_its_source_ends(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted], error: StreamError | None
) -> None:
    source = scripted(Scripted(frames=12, error=error, pause_s=0.02))
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert source.closed
    assert summary.lost == (None if error is None else str(error))
    assert summary.frames + summary.dropped == 12
    shown = frames_of(tmp_path / "a.mp4")
    assert len(shown) == summary.frames
    assert [round(255 - frame.mean()) for frame in shown] == pytest.approx(
        range(13 - len(shown), 13), abs=3 + summary.dropped
    )
    assert f"{summary.dropped} frames dropped" in summary.in_words() or summary.dropped == 1


def test_a_source_without_any_frame_leaves_nothing(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    scripted(Scripted(frames=0, pause_s=0.01))
    with pytest.raises(StreamError, match="/dev/video0 ended before its first frame"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    scripted(Scripted(frames=0, error=StreamError("it is lost"), pause_s=0.01))
    with pytest.raises(StreamError, match="it is lost"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changes_its_size_ends_the_recording(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    class Growing(Scripted):
        def read(self) -> NDArray[np.uint8] | None:
            frame = super().read()
            return frame if frame is None or self.given < 6 else np.tile(frame, (2, 1, 1))

    scripted(Growing(frames=9, pause_s=0.02))
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert summary.lost is not None
    assert "changed its size from 16 x 16 to 16 x 32" in summary.lost
    assert all(frame.shape == (16, 16, 3) for frame in frames_of(tmp_path / "a.mp4"))


def test_a_camera_is_read_as_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A film in the camera's place: OpenCV reads either.
    film = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(3):
        film.write(np.full((48, 64, 3), (200, 30, 10), np.uint8))  # BGR
    film.release()
    monkeypatch.setattr(v4l2, "_API", cv2.CAP_ANY)
    camera = V4L2Capture(LiveAddress("v4l2", str(tmp_path / "a.avi")), PictureFormat(width=64))
    for _ in range(3):
        frame = camera.read()
        assert frame is not None
        assert np.abs(frame.mean(axis=(0, 1)) - (10, 30, 200)).max() < 8
    with pytest.raises(StreamError, match="is lost: it gives no more pictures"):
        camera.read()
    camera.close()
    (tmp_path / "busy").write_bytes(b"no camera")
    for name, message in (("busy", "cannot be opened"), ("gone", "does not exist")):
        with pytest.raises(StreamError, match=message):
            V4L2Capture(LiveAddress("v4l2", str(tmp_path / name)), PictureFormat())


def test_an_error_is_raised_when_the_recording_is_whole(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    def fail(frame: NDArray[np.uint8], /, *, time_s: float | None = None) -> FrameResult:
        if frame[0, 0, 0] >= 5:
            raise DiskError("the disk takes no more lines")
        return FrameResult(frame, ())

    scripted(Scripted(frames=9, pause_s=0.03))
    with pytest.raises(DiskError, match="no more lines"):
        run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=fail)
    assert 1 <= len(frames_of(tmp_path / "a.mp4")) <= 4


def test_stopping_before_the_first_frame_is_no_error(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    scripted(Scripted(frames=3, pause_s=1.0))
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    summary = run_live(CAMERA, Recording(tmp_path / "a.mp4"), process=invert)
    assert (summary.frames, summary.output, summary.lost) == (0, None, None)
    assert summary.in_words().endswith("stopped before its first frame")
    assert list(tmp_path.iterdir()) == []


def test_what_arrives_damaged_is_left_out(tmp_path: Path) -> None:
    # A transport stream in the server's place, joined in the middle and with damage in it.
    path = tmp_path / "a.ts"
    with closing(av.open(str(path), "w")) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(60):
            noise = rng.integers(0, 255, (96, 128, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())[188 * 100 :]
    middle = len(content) // 2 // 188 * 188
    content[middle + 20 : middle + 180] = bytes(160)
    path.write_bytes(content)
    with closing(RtspCapture(LiveAddress("rtsp", str(path)))) as capture:
        frames = 0
        while capture.read() is not None:
            frames += 1
    assert 20 < frames < 58


@pytest.mark.parametrize("flip", FLIPS)
def test_pictures_are_turned_clockwise_and_mirrored(flip: Flip) -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    expected = {
        "none": picture,
        "rotate-90": np.rot90(picture, -1),
        "rotate-180": picture[::-1, ::-1],
        "rotate-270": np.rot90(picture),
        "horizontal": picture[:, ::-1],
        "vertical": picture[::-1],
    }[flip]
    np.testing.assert_array_equal(flipped(picture, flip), expected)


def test_a_turned_source_is_recorded_turned(
    tmp_path: Path, scripted: Callable[[Scripted], Scripted]
) -> None:
    class Wide(Scripted):
        def read(self) -> NDArray[np.uint8] | None:
            frame = super().read()
            return frame if frame is None else np.tile(frame, (1, 2, 1))

    scripted(Wide(frames=4, pause_s=0.02))
    file = Recording(tmp_path / "a.mp4")
    run_live(CAMERA, file, process=invert, wanted=PictureFormat(flip="rotate-90"))
    assert all(frame.shape == (32, 16, 3) for frame in frames_of(tmp_path / "a.mp4"))


def test_an_rtsp_stream_is_not_asked_for_a_size() -> None:
    with pytest.raises(UsageError, match="sends what it sends"):
        run_live(
            LiveAddress("rtsp", "rtsp://host/a"),
            Nowhere(),
            process=invert,
            wanted=PictureFormat(width=640),
        )


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
    with pytest.raises(StreamError, match="modprobe v4l2loopback video_nr=7 exclusive_caps=1"):
        run_live(CAMERA, VirtualCamera("/dev/video7"), process=invert)


def test_a_missing_pyvirtualcam_is_named(
    scripted: Callable[[Scripted], Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    scripted(Scripted(frames=5, pause_s=0.01))
    with pytest.raises(MissingPackageError, match="pyvirtualcam is not installed"):
        run_live(CAMERA, VirtualCamera("/dev/video10"), process=invert)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start


def address_of(server: Server) -> LiveAddress:
    return LiveAddress("rtsp", server.url)


@pytest.mark.processes
def test_a_stream_is_recorded_until_it_ends(tmp_path: Path, serve: Callable[..., Server]) -> None:
    summary = run_live(address_of(serve(75)), Recording(tmp_path / "bars.mp4"), process=invert)
    assert summary.lost is None
    # Three seconds, less what went by while the stream was looked at.
    assert 30 <= summary.frames + summary.dropped <= 75
    shown = frames_of(tmp_path / "bars.mp4")
    assert len(shown) == summary.frames
    assert shows_bars(255 - shown[0])
    assert shows_bars(255 - shown[-1])


@pytest.mark.processes
def test_a_server_that_is_killed_is_a_loss_and_the_recording_stays(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    server = serve(0)

    def kill_after_a_second(
        frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult:
        if time_s is not None and time_s > 1 and server.process.poll() is None:
            server.process.kill()
        return FrameResult(frame, ())

    summary = run_live(
        address_of(server), Recording(tmp_path / "bars.mp4"), process=kill_after_a_second
    )
    assert summary.lost is None  # a closed connection is an end, as FFmpeg sees it
    assert len(frames_of(tmp_path / "bars.mp4")) == summary.frames > 10


@pytest.mark.processes
def test_a_server_that_falls_silent_is_a_loss_and_the_recording_stays(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.live.rtsp._SILENT_S", 1.5)
    server = serve(0)

    def stop_after_a_second(
        frame: NDArray[np.uint8], /, *, time_s: float | None = None
    ) -> FrameResult:
        if time_s is not None and time_s > 1:
            server.process.send_signal(signal.SIGSTOP)
        return FrameResult(frame, ())

    summary = run_live(
        address_of(server), Recording(tmp_path / "bars.mp4"), process=stop_after_a_second
    )
    assert summary.lost == f"{server.url} is lost: no answer for 1.5 seconds"
    assert len(frames_of(tmp_path / "bars.mp4")) == summary.frames > 10


@pytest.mark.processes
def test_sound_that_goes_on_does_not_hide_a_loss(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mggr_edge.live.rtsp._SILENT_S", 1.5)
    server = serve(75, "sound")
    summary = run_live(address_of(server), Recording(tmp_path / "bars.mp4"), process=invert)
    assert summary.frames > 10
    # Sound is not asked for, so the server's session ends with its pictures.
    assert summary.lost is None


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_well(
    tmp_path: Path, serve: Callable[..., Server], number: signal.Signals
) -> None:
    script = (
        "import sys\n"
        "from mggr_edge.live.address import live_address\n"
        "from mggr_edge.live.output import live_output\n"
        "from mggr_edge.live_run import run_live\n"
        "from mggr_edge.redirector import FrameResult\n"
        "def process(frame, /, *, time_s=None):\n"
        "    print('frame', flush=True)\n"
        "    return FrameResult(frame, ())\n"
        "summary = run_live(live_address(sys.argv[1]), live_output(sys.argv[2]), process=process)\n"
        "assert summary.lost is None\n"
        "print(summary.frames)\n"
    )
    recorder = subprocess.Popen(
        [sys.executable, "-c", script, serve(0).url, tmp_path / "bars.mp4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert recorder.stdout is not None
    for _ in range(20):
        assert recorder.stdout.readline() == "frame\n"
    recorder.send_signal(number)
    rest, _ = recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert len(frames_of(tmp_path / "bars.mp4")) == int(rest.splitlines()[-1]) >= 20
    assert [path.name for path in tmp_path.iterdir()] == ["bars.mp4"]


@pytest.mark.processes
def test_an_address_where_nobody_answers(serve: Callable[..., Server]) -> None:
    server = serve(5)
    gone = server.url.replace("/bars", "/other")
    with pytest.raises(StreamError, match="/other cannot be opened: "):
        run_live(LiveAddress("rtsp", gone), Nowhere(), process=invert)
    server.kill()
    with pytest.raises(StreamError, match="cannot be opened: Connection refused"):
        run_live(address_of(server), Nowhere(), process=invert)
